# Gathered from the slides: seconds each, so that they go to a cluster as one job (group "results").

# Assays, normalisation, mixed models.
rule change:
    input:
        study=JOBS.inputs,
        check=JOBS.in_work("check.json"),
        batches=JOBS.batches,
    output:
        step=JOBS.in_work("change.json"),
        table=report(
            update(JOBS.in_results("results/pd_change.csv")),
            caption="../report/pd_change.rst",
            category="Results",
        ),
    params:
        arguments=JOBS.arguments,
    log:
        JOBS.in_work("logs/change.log"),
    benchmark:
        JOBS.in_work("benchmarks/change.tsv")
    threads: 1
    resources:
        mem_mb=JOBS.mem_mb("change"),
        runtime=JOBS.runtime("change"),
    retries: JOBS.retries
    group:
        "results"
    conda:
        "../envs/pdbiomarker.yaml"
    shell:
        "pdbiomarker step change {params.arguments:q} 2> {log:q}"


# Noise, responders, decision rules, honesty checks of the primary features.
rule decide:
    input:
        JOBS.in_work("change.json"),
    output:
        JOBS.in_work("decide.json"),
    params:
        arguments=JOBS.arguments,
    log:
        JOBS.in_work("logs/decide.log"),
    benchmark:
        JOBS.in_work("benchmarks/decide.tsv")
    threads: 1
    resources:
        mem_mb=JOBS.mem_mb("decide"),
        runtime=JOBS.runtime("decide"),
    retries: JOBS.retries
    group:
        "results"
    conda:
        "../envs/pdbiomarker.yaml"
    shell:
        "pdbiomarker step decide {params.arguments:q} 2> {log:q}"


# The trial around the biopsies; nothing where the study has no clinical sheets.
rule clinical:
    input:
        JOBS.in_work("decide.json"),
    output:
        JOBS.in_work("clinical.json"),
    params:
        arguments=JOBS.arguments,
    log:
        JOBS.in_work("logs/clinical.log"),
    benchmark:
        JOBS.in_work("benchmarks/clinical.tsv")
    threads: 1
    resources:
        mem_mb=JOBS.mem_mb("clinical"),
        runtime=JOBS.runtime("clinical"),
    retries: JOBS.retries
    group:
        "results"
    conda:
        "../envs/pdbiomarker.yaml"
    shell:
        "pdbiomarker step clinical {params.arguments:q} 2> {log:q}"


# The report.
rule review:
    input:
        JOBS.in_work("clinical.json"),
    output:
        step=JOBS.in_work("report.json"),
        page=report(
            update(JOBS.in_results("review.html")),
            caption="../report/review.rst",
            category="Results",
        ),
    params:
        arguments=JOBS.report_arguments,
    log:
        JOBS.in_work("logs/review.log"),
    benchmark:
        JOBS.in_work("benchmarks/review.tsv")
    threads: 1
    resources:
        mem_mb=JOBS.mem_mb("report"),
        runtime=JOBS.runtime("report"),
    retries: JOBS.retries
    group:
        "results"
    conda:
        "../envs/pdbiomarker.yaml"
    shell:
        "pdbiomarker step report {params.arguments:q} 2> {log:q}"


# What was read and made, with hashes; how it ended, with what was quarantined.
rule manifest:
    input:
        JOBS.in_work("report.json"),
    output:
        manifest=JOBS.in_results("manifest.json"),
        summary=report(
            JOBS.in_work("summary.txt"), caption="../report/summary.rst", category="Results"
        ),
    params:
        arguments=JOBS.arguments,
    log:
        JOBS.in_work("logs/manifest.log"),
    benchmark:
        JOBS.in_work("benchmarks/manifest.tsv")
    threads: 1
    resources:
        mem_mb=JOBS.mem_mb("manifest"),
        runtime=JOBS.runtime("manifest"),
    retries: JOBS.retries
    group:
        "results"
    conda:
        "../envs/pdbiomarker.yaml"
    shell:
        "pdbiomarker step manifest {params.arguments:q} 2> {log:q}"

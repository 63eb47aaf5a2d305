# Sheets, plan, panels, counts, headers of slides: refused as a whole, or described for the steps that follow.
# A checkpoint: when it ran again, Snakemake asks anew which batches must run. It would not ask of a plain rule.
checkpoint check:
    input:
        study=JOBS.inputs,
        slides=JOBS.slides,
    output:
        JOBS.in_work("check.json"),
    params:
        arguments=JOBS.check_arguments,
        token=JOBS.check_token,
    log:
        JOBS.in_work("logs/check.log"),
    benchmark:
        JOBS.in_work("benchmarks/check.tsv")
    threads: 1
    resources:
        mem_mb=JOBS.mem_mb("check"),
        runtime=JOBS.runtime("check"),
    retries: JOBS.retries
    conda:
        "../envs/pdbiomarker.yaml"
    shell:
        "pdbiomarker step check {params.arguments:q} 2> {log:q}"

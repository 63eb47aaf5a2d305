# Cells and scores of a batch of slides. A slide that cannot be measured is quarantined and fails nothing.
# The check gates the batches and does not start them again: the token tells what they depend on.
rule slides:
    input:
        check=ancient(JOBS.in_work("check.json")),
        slides=JOBS.files,
    output:
        JOBS.in_work("slides/{batch}.json"),
    params:
        arguments=JOBS.arguments,
        token=JOBS.token,
    log:
        JOBS.in_work("logs/slides/{batch}.log"),
    benchmark:
        JOBS.in_work("benchmarks/slides/{batch}.tsv")
    threads: JOBS.threads
    resources:
        mem_mb=JOBS.slides_mem_mb,
        runtime=JOBS.slides_runtime,
        tries_left=JOBS.tries_left,
    retries: JOBS.retries
    conda:
        "../envs/pdbiomarker.yaml"
    shell:
        "pdbiomarker step slides {params.arguments:q} --batch {wildcards.batch:q} --workers {threads}"
        " --tries-left {resources.tries_left} 2> {log:q}"

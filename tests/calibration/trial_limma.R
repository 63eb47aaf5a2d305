# edgeR's TMM, limma's voom with duplicateCorrelation (twice) on the simulated trials of tests/calibration_study.py:
#   python tests/calibration_study.py FOLDER
#   Rscript tests/calibration/trial_limma.R FOLDER tests/calibration/trial_limma.csv
# BH at 5 % of the change on treatment (second coefficient): false discoveries, power, null p below .001.
# Made with R 4.2.2, limma 3.54.1, edgeR 3.40.2.
suppressMessages({library(limma); library(edgeR)})
given <- commandArgs(trailingOnly = TRUE)
X <- as.matrix(read.csv(file.path(given[1], "design.csv")))
people <- read.csv(file.path(given[1], "participant.csv"))$participant
rows <- NULL
for (seed in 0:2) {
  counts <- as.matrix(read.csv(file.path(given[1], sprintf("counts_%d.csv", seed))))
  library_sizes <- calcNormFactors(DGEList(counts))
  change <- read.csv(file.path(given[1], sprintf("change_%d.csv", seed)))$change
  v <- voom(library_sizes, X)
  rho <- duplicateCorrelation(v, X, block = people)$consensus
  v <- voom(library_sizes, X, block = people, correlation = rho)
  rho <- duplicateCorrelation(v, X, block = people)$consensus
  fitted <- eBayes(lmFit(v, X, block = people, correlation = rho))
  p <- fitted$p.value[, 2]
  found <- p.adjust(p, "BH") <= 0.05
  null <- change == 0
  rows <- rbind(rows, data.frame(seed, fdr = sum(found & null) / max(1, sum(found)),
    power = sum(found & !null) / sum(!null), null_001 = mean(p[null] < 0.001), rho))
}
write.csv(format(rows, digits = 8), given[2], row.names = FALSE, quote = FALSE)

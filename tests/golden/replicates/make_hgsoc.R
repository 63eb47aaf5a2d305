# Reference numbers for several biopsies of a visit: log2 CPM of markers in the multi-biopsy ovarian cancer
# cohort (EGA; 23 participants, 1 to 4 biopsies before and after chemotherapy), by lme4 and lmerTest.
#
#   Rscript make_hgsoc.R FOLDER_OF_THE_DATA
#
# writes hgsoc_lmer.csv and sessionInfo.txt beside this script. KR: Kenward-Roger by pbkrtest.
suppressMessages(library(lmerTest))
folder <- commandArgs(trailingOnly = TRUE)[1]
counts <- as.matrix(read.csv(gzfile(file.path(folder, "ega_multibiopsy_counts.csv.gz")), row.names = 1,
                             check.names = FALSE))
samples <- read.csv(file.path(folder, "ega_multibiopsy_samples.csv"), colClasses = "character")
counts <- counts[, samples$sample_id]
y <- log2(t((t(counts) + 0.5) / (colSums(counts) + 1)) * 1e6)
samples$visit <- factor(samples$timepoint, levels = c("Pre", "Post"))
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhobeg = 0.1, rhoend = 1e-12, maxfun = 1e6),
                     check.conv.grad = .makeCC("ignore", tol = 1e-3))
rows <- list()
for (gene in c("CD8A", "GZMA", "PRF1", "CD274", "FOXP3", "CXCL9", "MKI67", "VEGFA")) {
  samples$y <- y[gene, ]
  for (model in c("visit_within", "participant_only")) {
    formula <- if (model == "visit_within") y ~ visit + (1 | participant) + (1 | participant:visit)
               else y ~ visit + (1 | participant)
    fit <- suppressMessages(lmer(formula, samples, REML = TRUE, control = tight))
    components <- as.data.frame(VarCorr(fit))
    variance <- setNames(components$vcov, components$grp)
    for (ddf in c("Kenward-Roger", "Satterthwaite")) {
      found <- contest1D(fit, c(0, 1), ddf = ddf)
      rows[[length(rows) + 1]] <- data.frame(
        gene = gene, model = model, ddf = tolower(ddf), estimate = found[["Estimate"]],
        se = found[["Std. Error"]], df = found[["df"]], p = found[["Pr(>|t|)"]],
        participant = variance[["participant"]],
        visit = if (model == "visit_within") variance[["participant:visit"]] else NA,
        residual = variance[["Residual"]], singular = isSingular(fit, tol = 1e-5))
    }
  }
}
options(digits = 15)
write.csv(do.call(rbind, rows), "hgsoc_lmer.csv", row.names = FALSE, quote = FALSE)
writeLines(capture.output(sessionInfo()), "sessionInfo.txt")

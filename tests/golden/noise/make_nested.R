# Variance components of nested replicates by lme4 (REML), tight optimiser. Rscript make_nested.R, in this folder.
library(lme4)
set.seed(6)
rows <- list()
for (p in 1:14) for (v in c("pre", "on")) {
  n_biopsy <- sample(1:3, 1)
  for (b in seq_len(n_biopsy)) for (r in seq_len(sample(1:4, 1)))
    rows[[length(rows) + 1]] <- data.frame(participant = p, visit = v, biopsy = paste(p, v, b), region = r)
}
d <- do.call(rbind, rows)
d$occasion <- paste(d$participant, d$visit)
re <- function(x, s) { u <- unique(x); setNames(rnorm(length(u), 0, s), u)[as.character(x)] }
d$y <- round(5 + .6 * (d$visit == "on") + re(d$participant, .9) + re(d$occasion, .4) + re(d$biopsy, .6) +
  rnorm(nrow(d), 0, .45), 6)
f <- lmer(y ~ visit + (1 | participant) + (1 | occasion) + (1 | biopsy), d, REML = TRUE,
  control = lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-12, rhobeg = 1e-2, maxfun = 1e5)))
v <- as.data.frame(VarCorr(f))
write.csv(d[, c("participant", "visit", "biopsy", "region", "y")], "nested.csv", row.names = FALSE, quote = FALSE)
write.csv(data.frame(component = v$grp, variance = format(v$vcov, digits = 15)), "nested_varcorr.csv",
  row.names = FALSE, quote = FALSE)
# The balanced one-way analysis of variance of the same generator: mean squares by aov.
set.seed(7)
b <- data.frame(subject = rep(1:12, each = 3))
b$y <- round(re(b$subject, 1) + rnorm(36, 0, .7), 6)
a <- summary(aov(y ~ factor(subject), b))[[1]]
write.csv(b, "oneway.csv", row.names = FALSE, quote = FALSE)
write.csv(data.frame(ms = format(a[["Mean Sq"]], digits = 15), df = a[["Df"]]), "oneway_aov.csv", row.names = FALSE,
  quote = FALSE)
sink("session.txt"); print(sessionInfo()); sink()

# Weighted fits with several random terms: lmerTest contest1D and contestMD, Satterthwaite and Kenward-Roger.
# pbkrtest drops the prior weights; these are its numbers as they are (compat = "lmerTest").
# usage: Rscript make_compat.R   (writes data.csv, results.csv, varcomp.csv here)
suppressMessages({library(lme4); library(lmerTest); library(pbkrtest)})
set.seed(407)
ct <- lmerControl(calc.derivs = FALSE, optimizer = "nloptwrap",
                  optCtrl = list(xtol_abs = 1e-14, ftol_abs = 1e-14, ftol_rel = 1e-15, maxeval = 5000),
                  check.conv.singular = .makeCC("ignore", tol = 1e-4))
d <- expand.grid(visit = factor(c("A", "B", "C")), lesion = factor(1:2), participant = factor(sprintf("P%02d", 1:12)))
d <- d[-sample(nrow(d), 14), ]
d$batch <- factor(sample(1:4, nrow(d), TRUE))
d$week <- c(A = 0, B = 3, C = 8)[as.character(d$visit)]
p <- as.integer(d$participant)
d$y <- 3 + rnorm(12)[p] + rnorm(24, 0, .7)[2 * p + as.integer(d$lesion) - 2] + rnorm(4, 0, .6)[as.integer(d$batch)] +
  rnorm(12, 0, .2)[p] * d$week + .4 * (d$visit == "B") + rnorm(nrow(d), 0, .5)
d$w <- exp(rnorm(nrow(d), .7, .7))
forms <- list(one = y ~ visit + (1 | participant),
              nested = y ~ visit + (1 | participant / lesion),
              crossed = y ~ visit + (1 | participant) + (1 | batch),
              slope = y ~ visit + (1 + week | participant),
              diagonal = y ~ visit + (1 + week || participant))
res <- list(); vc <- list()
for (case in names(forms)) {
  m <- suppressMessages(lmerTest::lmer(forms[[case]], d, weights = w, control = ct))
  v <- as.data.frame(VarCorr(m))
  vc[[case]] <- data.frame(case = case, grp = v$grp, var1 = v$var1, var2 = v$var2, vcov = v$vcov)
  for (ddf in c("Satterthwaite", "Kenward-Roger")) {
    for (k in 1:3) {
      r <- contest1D(m, as.numeric(1:3 == k), ddf = ddf)
      res[[length(res) + 1]] <- data.frame(case, ddf, test = paste0("b", k), estimate = r[[1]], se = r[[2]],
                                           num_df = 1, df = r[[3]], F = r[[4]]^2, p = r[[5]])
    }
    r <- contestMD(m, diag(3)[2:3, ], ddf = ddf)
    res[[length(res) + 1]] <- data.frame(case, ddf, test = "visit", estimate = NA, se = NA, num_df = r$NumDF,
                                         df = r$DenDF, F = r$`F value`, p = r$`Pr(>F)`)
  }
}
out <- function(x, f) {
  x <- do.call(rbind, x)
  x[] <- lapply(x, function(c) if (is.double(c)) signif(c, 14) else c)
  write.csv(x, f, row.names = FALSE, quote = FALSE)
}
out(list(d), "data.csv"); out(res, "results.csv"); out(vc, "varcomp.csv")
cat(R.version.string, "lme4", as.character(packageVersion("lme4")), "lmerTest", as.character(packageVersion("lmerTest")),
    "pbkrtest", as.character(packageVersion("pbkrtest")), "\n", file = "versions.txt")

# lmerTest and pbkrtest on the 500 data sets of inputs.csv, tight optimiser; model y ~ visit + x + (1|participant),
# contrast: visit 1 against visit 0. Weighted Kenward-Roger by rows scaled with sqrt(w) (see ../README.md).
# usage: Rscript make_results.R   (writes results.csv, versions.txt here)
suppressMessages({library(lme4); library(lmerTest); library(pbkrtest)})
ct <- lmerControl(calc.derivs = FALSE, optimizer = "nloptwrap",
                  optCtrl = list(xtol_abs = 1e-14, ftol_abs = 1e-14, ftol_rel = 1e-15, maxeval = 5000),
                  check.conv.singular = .makeCC("ignore", tol = 1e-4))
all <- read.csv("inputs.csv")
one <- function(d) {
  d$participant <- factor(d$participant); d$visit <- factor(d$visit)
  m <- suppressMessages(lmerTest::lmer(y ~ visit + x + (1 | participant), d, weights = w, control = ct))
  X <- model.matrix(m); L <- as.numeric(colnames(X) == "visit1")
  s <- contest1D(m, L)
  k <- m
  if (d$kind[1] == "weights") {
    sw <- sqrt(d$w); Xs <- X * sw; colnames(Xs) <- paste0("x", seq_len(ncol(X)))
    d2 <- data.frame(participant = d$participant, sw = sw, ys = d$y * sw, Xs)
    f <- as.formula(paste("ys ~ 0 +", paste(colnames(Xs), collapse = "+"), "+ (0 + sw | participant)"))
    k <- suppressMessages(lmerTest::lmer(f, d2, control = ct))
  }
  r <- suppressWarnings(contest1D(k, L, ddf = "Kenward-Roger"))
  data.frame(set = d$set[1], kind = d$kind[1], n = nrow(d), estimate = s[[1]], se_s = s[[2]], df_s = s[[3]], p_s = s[[5]],
             se_k = r[[2]], df_k = r[[3]], p_k = r[[5]], sigma = sigma(m), theta = m@theta, criterion = REMLcrit(m))
}
out <- do.call(rbind, lapply(split(all, all$set), one))
out[] <- lapply(out, function(c) if (is.double(c)) signif(c, 13) else c)
write.csv(out, "results.csv", row.names = FALSE, quote = FALSE)
cat(R.version.string, "lme4", as.character(packageVersion("lme4")), "lmerTest", as.character(packageVersion("lmerTest")),
    "pbkrtest", as.character(packageVersion("pbkrtest")), "\n", file = "versions.txt")
print(table(out$kind, out$theta < 1e-6))

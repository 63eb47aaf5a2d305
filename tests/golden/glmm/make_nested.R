# Counts and proportions below the biopsy, missing biopsies, three visits, a covariate, and the Poisson and
# binomial limits: glmmTMB (Laplace, ML). Rscript make_nested.R
suppressMessages(library(glmmTMB)); set.seed(20261123)
P <- 14; visits <- c("screening", "C2D1", "C4D1")
b <- expand.grid(visit = visits, participant = sprintf("P%02d", 1:P), KEEP.OUT.ATTRS = FALSE, stringsAsFactors = FALSE)
b <- b[!(b$visit == "C4D1" & b$participant %in% sprintf("P%02d", c(2, 5, 9, 13))), ]
b <- b[!(b$visit == "C2D1" & b$participant %in% sprintf("P%02d", c(4, 11))), ]
b$purity <- round(runif(nrow(b), .2, .8), 2); b$biopsy <- sprintf("B%02d", seq_len(nrow(b)))
d <- b[rep(seq_len(nrow(b)), times = 1 + (seq_len(nrow(b)) %% 3)), ]; rownames(d) <- NULL; n <- nrow(d)
d$area_mm2 <- round(exp(rnorm(n, log(2), .5)), 4); d$n_cells <- rpois(n, 20 + 40 * d$area_mm2)
on <- as.numeric(d$visit == "C2D1"); late <- as.numeric(d$visit == "C4D1"); data <- NULL; res <- NULL
sets <- list(c(.6, .5, 4), c(.8, .3, 20), c(.4, .7, 2), c(.7, .4, Inf))
for (f in seq_along(sets)) {
  s <- sets[[f]]
  u <- rnorm(P, 0, s[1])[match(d$participant, sprintf("P%02d", 1:P))]; v <- rnorm(nrow(b), 0, s[2])[match(d$biopsy, b$biopsy)]
  eta <- .6 * on + .2 * late + .8 * (d$purity - .5) + u + v
  mu <- d$area_mm2 * exp(log(c(6, 30, 60, 10)[f]) + eta); p <- plogis(-1.2 + eta)
  d$count <- if (is.finite(s[3])) rnbinom(n, mu = mu, size = s[3]) else rpois(n, mu)
  d$positive <- if (is.finite(s[3])) rbinom(n, d$n_cells, rbeta(n, 5 * p * s[3], 5 * (1 - p) * s[3])) else rbinom(n, d$n_cells, p)
  data <- rbind(data, cbind(feature = sprintf("N%02d", f), d))
  e <- transform(d, visit = factor(visit, visits))
  ctl <- glmmTMBControl(optCtrl = list(iter.max = 2000, eval.max = 2000, rel.tol = 1e-13))
  forms <- list(count ~ visit + purity + offset(log(area_mm2)), cbind(positive, n_cells - positive) ~ visit + purity)
  rand <- list(one = ~ . + (1 | participant), nested = ~ . + (1 | participant) + (1 | biopsy))
  fams <- list(nbinom2 = nbinom2, poisson = poisson, betabinomial = betabinomial, binomial = binomial)
  for (r in names(rand)) for (k in names(fams)) {
    form <- update(forms[[if (k %in% c("nbinom2", "poisson")) 1 else 2]], rand[[r]])
    m <- suppressWarnings(glmmTMB(form, e, family = fams[[k]], control = ctl)); co <- summary(m)$coefficients$cond
    vc <- VarCorr(m)$cond; sdb <- if (r == "nested") sqrt(as.numeric(vc$biopsy)) else NA
    res <- rbind(res, data.frame(feature = sprintf("N%02d", f), model = r, family = k, coef = rownames(co), estimate = co[, 1], se = co[, 2],
      sd_participant = sqrt(as.numeric(vc$participant)), sd_biopsy = sdb, dispersion = if (k %in% c("poisson", "binomial")) NA else sigma(m),
      loglik = as.numeric(logLik(m)), pd_hessian = m$sdr$pdHess, largest_gradient = max(abs(m$sdr$gradient.fixed))))
  }
}
write.csv(format(data, digits = 12, trim = TRUE), "nested_data.csv", row.names = FALSE, quote = FALSE); write.csv(format(res, digits = 12, trim = TRUE), "nested_results.csv", row.names = FALSE, quote = FALSE)
sink("nested_sessionInfo.txt"); print(sessionInfo()); sink()

# Reference numbers for pdbiomarker.link, with base R and the package survival.
# Run in this folder: Rscript make_link.R
library(survival)
options(digits = 15)
set.seed(20)
num <- function(x) trimws(formatC(x, digits = 12, format = "g"))
out <- data.frame(case = character(), quantity = character(), value = character())
put <- function(case, quantity, value) out[nrow(out) + 1, ] <<- c(case, quantity, num(value))

# 1. Shapes against exposure
x <- round(exp(runif(24, log(1), log(100))), 3)
y <- round(0.3 + 2.2 * x / (9 + x) + rnorm(24, sd = 0.35), 4)
curves <- data.frame(x = x, y = y)
aicc <- function(rss, n, k) { q <- k + 1; n * log(rss / n) + 2 * q + 2 * q * (q + 1) / (n - q - 1) }
shapes <- list("constant" = lm(y ~ 1), "linear" = lm(y ~ x), "log-linear" = lm(y ~ log10(x)),
               "bell" = lm(y ~ log10(x) + I(log10(x)^2)))
for (s in names(shapes)) {
  rss <- sum(resid(shapes[[s]])^2)
  put(s, "rss", rss); put(s, "aicc", aicc(rss, 24, length(coef(shapes[[s]]))))
}
emax <- nls(y ~ e0 + em * x / (exp(l) + x), start = list(e0 = 0.3, em = 2, l = log(9)),
            control = nls.control(tol = 1e-7, maxiter = 500, minFactor = 1e-12))
ci <- suppressMessages(confint(emax))
rss <- sum(resid(emax)^2)
put("Emax", "rss", rss); put("Emax", "aicc", aicc(rss, 24, 3))
put("Emax", "emax", coef(emax)[["em"]]); put("Emax", "emax_low", ci["em", 1]); put("Emax", "emax_high", ci["em", 2])
put("Emax", "ed50", exp(coef(emax)[["l"]])); put("Emax", "ed50_low", exp(ci["l", 1])); put("Emax", "ed50_high", exp(ci["l", 2]))
slope <- lm(y ~ log10(x))
put("log-linear", "slope", coef(slope)[[2]]); put("log-linear", "low", confint(slope)[2, 1])
put("log-linear", "high", confint(slope)[2, 2]); put("log-linear", "p", summary(slope)$coefficients[2, 4])

# 2. Cox with ties: likelihood ratio and profile limits
n <- 30
change <- round(rnorm(n, 1, 0.8), 3)
time <- ceiling(rexp(n, 0.01 * exp(-0.5 * (change - 1))) / 7) * 7
event <- as.integer(runif(n) < 0.75)
cox <- coxph(Surv(time, event) ~ change, ties = "efron")
loglik <- function(b) coxph(Surv(time, event) ~ change, ties = "efron", init = b, iter.max = 0)$loglik[1]
best <- cox$loglik[2]
edge <- function(lo, hi) uniroot(function(b) best - loglik(b) - qchisq(0.95, 1) / 2, c(lo, hi), tol = 1e-12)$root
put("cox", "hr", exp(coef(cox)[[1]])); put("cox", "low", exp(edge(-6, coef(cox)[[1]])))
put("cox", "high", exp(edge(coef(cox)[[1]], 6))); put("cox", "p", summary(cox)$logtest[["pvalue"]])
km <- summary(survfit(Surv(time, event) ~ 1), times = c(50, 100, 150))
for (k in 1:3) put("km", paste0("day", c(50, 100, 150)[k]), km$surv[k])
survival_data <- data.frame(time = time, event = event, change = change)

# 3. Spearman with its exact p, 8 values without ties
a <- c(2.1, 0.4, 3.3, 1.7, 5.0, 4.2, 2.9, 0.9); b <- c(1.0, 0.2, 2.2, 3.1, 2.9, 4.4, 1.9, 0.5)
rho <- cor.test(a, b, method = "spearman", exact = TRUE)
put("spearman", "value", rho$estimate[[1]]); put("spearman", "p", rho$p.value)

# 4. Correlation within participants by analysis of covariance, with and without the visit; some incomplete
people <- factor(rep(sprintf("P%02d", 1:14), each = 3)); visit <- factor(rep(c("V1", "V2", "V3"), 14))
level <- rnorm(14)[people]
va <- level + c(0, 1.5, 1.2)[visit] + rnorm(42, sd = 0.6)
vb <- 0.5 * level + c(0, 1.4, 0.7)[visit] + 0.5 * (va - level) + rnorm(42, sd = 0.6)
keep <- !(seq_along(va) %in% c(3, 11, 12, 24, 40))
repeated <- data.frame(participant = people, visit = visit, a = round(va, 4), b = round(vb, 4))[keep, ]
for (case in c("centred", "plain")) {
  used <- repeated[ave(rep(1, nrow(repeated)), repeated$participant, FUN = sum) > 1, ]
  f <- if (case == "centred") b ~ participant + visit + a else b ~ participant + a
  fit <- lm(f, data = droplevels(used)); tab <- anova(fit)
  ssa <- tab["a", "Sum Sq"]; sse <- tab["Residuals", "Sum Sq"]
  put(case, "r", sign(coef(fit)[["a"]]) * sqrt(ssa / (ssa + sse))); put(case, "df", tab["Residuals", "Df"])
  put(case, "p", tab["a", "Pr(>F)"])
}
write.csv(curves, "curves.csv", row.names = FALSE, quote = FALSE)
write.csv(survival_data, "survival.csv", row.names = FALSE, quote = FALSE)
write.csv(repeated, "repeated.csv", row.names = FALSE, quote = FALSE)
write.csv(out, "link_results.csv", row.names = FALSE, quote = FALSE)
writeLines(capture.output(sessionInfo())[c(1, 3)], "sessionInfo.txt")
cat(paste("survival", packageVersion("survival")), "\n", file = "sessionInfo.txt", append = TRUE)

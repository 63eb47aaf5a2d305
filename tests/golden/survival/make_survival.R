# Kaplan-Meier, medians and Cox (Efron) by R survival, on small simulated sets: ties, no events, a median that is
# not reached, a curve that lies exactly on one half, and several groups.
# Run from this folder: Rscript make_survival.R
library(survival)
options(digits = 17)
set.seed(20)
n <- 60
ties <- data.frame(set = "ties", days = ceiling(rexp(n, 1 / 90) / 7) * 7, event = rbinom(n, 1, 0.7),
                   group = rep(c("A", "B", "C"), each = 20), x = round(rnorm(n), 3))
ties$days <- ifelse(ties$group == "B", ceiling(ties$days * 1.6), ties$days)
none <- data.frame(set = "no_events", days = c(10, 20, 30, 30), event = 0, group = "A", x = c(1, 2, 3, 4))
high <- data.frame(set = "not_reached", days = c(5, 9, 20, 30, 31, 40, 41, 50), event = c(1, 0, 1, 0, 0, 0, 0, 0),
                   group = "A", x = 1:8)
half <- data.frame(set = "on_half", days = c(10, 20, 30, 40), event = c(1, 1, 1, 0), group = "A", x = 1:4)
last <- data.frame(set = "to_zero", days = c(3, 3, 8, 8, 15), event = c(1, 1, 0, 1, 1), group = "A", x = 1:5)
data <- rbind(ties, none, high, half, last)
write.csv(data, "data.csv", row.names = FALSE)

curves <- medians <- fixed <- NULL
for (s in unique(data$set)) for (g in unique(data$group[data$set == s])) {
  own <- data[data$set == s & data$group == g, ]
  for (level in c(0.95, 0.90)) {
    f <- survfit(Surv(days, event) ~ 1, data = own, conf.type = "log-log", conf.int = level)
    curves <- rbind(curves, data.frame(set = s, group = g, level = level, days = f$time, n_risk = f$n.risk,
      n_event = f$n.event, n_censored = f$n.censor, survival = f$surv, se = f$std.err * f$surv,
      ci_low = f$lower, ci_high = f$upper))
    q <- quantile(f, 0.5)
    medians <- rbind(medians, data.frame(set = s, group = g, level = level, median_days = q$quantile,
      ci_low = q$lower, ci_high = q$upper))
    at <- c(1, 9, 30, 84)
    at <- at[at <= max(own$days)]
    z <- summary(f, times = at)
    fixed <- rbind(fixed, data.frame(set = s, group = g, level = level, days = z$time, survival = z$surv,
      ci_low = z$lower, ci_high = z$upper))
  }
}
write.csv(curves, "curves.csv", row.names = FALSE)
write.csv(medians, "medians.csv", row.names = FALSE)
write.csv(fixed, "fixed.csv", row.names = FALSE)

row <- function(model, f) {
  z <- summary(f)$coefficients
  data.frame(model = model, term = rownames(z), log_hazard_ratio = z[, 1], se = z[, 3], z = z[, 4], p = z[, 5])
}
control <- coxph.control(eps = 1e-12, toler.chol = 1e-13, iter.max = 100)
cox <- rbind(
  row("x", coxph(Surv(days, event) ~ x, ties, ties = "efron", control = control)),
  row("x+group", coxph(Surv(days, event) ~ x + group, ties, ties = "efron", control = control)),
  row("on_half_x", coxph(Surv(days, event) ~ I(c(1, 3, 2, 4)), half, ties = "efron", control = control)))
write.csv(cox, "cox.csv", row.names = FALSE)
writeLines(capture.output(sessionInfo()), "sessionInfo.txt")

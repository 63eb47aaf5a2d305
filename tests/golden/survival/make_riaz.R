# Medians of overall survival by cohort, and their hazard ratio, of the nivolumab study of Riaz et al. 2017
# (participants.csv of the shared data, which is not part of this repository).
# Run from this folder: Rscript make_riaz.R path/to/riaz2017/participants.csv
library(survival)
x <- read.csv(commandArgs(TRUE)[1])
x$days <- x$os_months * 30.4375
x$event <- x$os_cnsr == 0
f <- survfit(Surv(days, event) ~ clin_cohort, data = x, conf.type = "log-log")
q <- quantile(f, 0.5)
fit <- coxph(Surv(days, event) ~ clin_cohort, x, ties = "efron",
             control = coxph.control(eps = 1e-12, toler.chol = 1e-13, iter.max = 100))
out <- data.frame(group = sub("clin_cohort=", "", names(f$strata)), median_days = q$quantile[, 1],
                  ci_low = q$lower[, 1], ci_high = q$upper[, 1], log_hazard_ratio = coef(fit)[1])
write.csv(out, "riaz.csv", row.names = FALSE)

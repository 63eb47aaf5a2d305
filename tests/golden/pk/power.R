# The power model of dose proportionality by lm: the numbers of tests/clinical/test_pk_doses.py.
d <- rep(c(1, 3, 10, 30), each = 3)
y <- c(11.2, 9.1, 13.5, 35.0, 27.9, 41.2, 95.0, 141.0, 120.5, 420.0, 310.3, 505.9)
fit <- lm(log(y) ~ log(d))
print(R.version.string)
print(format(c(coef(summary(fit))[, 1:2], confint(fit, level = 0.9)[2, ]), digits = 15))

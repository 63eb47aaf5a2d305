# Reference numbers for exact tests, adjusted p and declared looks. Run in this folder: Rscript make_exact.R
# Writes signed_rank_cases.csv (changes), signed_rank_results.csv (wilcox.test), adjusted.csv (p.adjust),
# looks.csv (mvtnorm), sessionInfo.txt.
suppressMessages(library(mvtnorm))
set.seed(5081)
digits <- function(x) ifelse(is.na(x), "", sprintf("%.15g", x))

cases <- list(
  sleep = c(1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4),
  five = rnorm(5, .4), six = rnorm(6, .8), ten = rnorm(10, .3), twenty = rnorm(20, .4),
  fortynine = rnorm(49, .2), sixty = rnorm(60, .2),
  ties = round(rnorm(12, .3) * 2) / 2 + .25, zeros = c(0, 0, rnorm(9, .5)),
  both = round(rnorm(25, .4) * 2) / 2, negative = -abs(rnorm(7)), big_ties = round(rnorm(80, .2), 1)
)
changes <- do.call(rbind, lapply(names(cases), function(n)
  data.frame(case = n, pair = seq_along(cases[[n]]), change = digits(cases[[n]]))))
write.csv(changes, "signed_rank_cases.csv", row.names = FALSE, quote = FALSE)
rows <- list()
for (n in names(cases)) for (alternative in c("two.sided", "greater", "less")) for (correct in c(TRUE, FALSE)) {
  d <- as.numeric(digits(cases[[n]]))
  plain <- !any(d == 0) && !any(duplicated(abs(d))) && length(d) < 50
  test <- suppressWarnings(wilcox.test(d, alternative = alternative, correct = correct))
  approximate <- suppressWarnings(wilcox.test(d, alternative = alternative, correct = correct, exact = FALSE))
  rows[[length(rows) + 1]] <- data.frame(case = n, alternative = sub("two.sided", "two-sided", alternative),
    correct = correct, V = digits(test$statistic), exact = if (plain) digits(test$p.value) else "",
    normal = digits(approximate$p.value))
}
write.csv(do.call(rbind, rows), "signed_rank_results.csv", row.names = FALSE, quote = FALSE)

p <- list(
  few = c(.01, .04, .03, .005, .55),
  ties = c(.02, .02, .02, .5, 1, 0),
  gaps = c(NA, .001, .03, NA, .2, .04, .6),
  many = c(round(runif(40)^3, 6), NA),
  one = .03
)
adjusted <- do.call(rbind, lapply(names(p), function(n) data.frame(family = n, p = digits(p[[n]]),
  holm = digits(p.adjust(p[[n]], "holm")), bh = digits(p.adjust(p[[n]], "BH")), by = digits(p.adjust(p[[n]], "BY")))))
write.csv(adjusted, "adjusted.csv", row.names = FALSE, quote = FALSE)

# P(|Z_k| >= b_k at some look), by Miwa's quadrature (4,096 grid points) of the multivariate normal.
looks <- list(
  pocock2 = list(t = 1:2 / 2, b = rep(2.178, 2)), pocock4 = list(t = 1:4 / 4, b = rep(2.361, 4)),
  pocock5 = list(t = 1:5 / 5, b = rep(2.413, 5)),
  of3 = list(t = 1:3 / 3, b = 2.004 / sqrt(1:3 / 3)), of5 = list(t = 1:5 / 5, b = 2.04 / sqrt(1:5 / 5)),
  uneven_pocock = list(t = c(.3, .5, 1), b = rep(2.3, 3)), uneven_of = list(t = c(.3, .5, 1), b = 2.1 / sqrt(c(.3, .5, 1)))
)
crossing <- function(x) {
  K <- length(x$t)
  S <- outer(1:K, 1:K, function(i, j) sqrt(pmin(x$t[i], x$t[j]) / pmax(x$t[i], x$t[j])))
  1 - pmvnorm(-x$b, x$b, corr = S, algorithm = Miwa(steps = 4096))[1]
}
write.csv(do.call(rbind, lapply(names(looks), function(n) { x <- looks[[n]]
  data.frame(case = n, information = paste(digits(x$t), collapse = " "), critical = paste(digits(x$b), collapse = " "),
    probability = digits(crossing(x))) })), "looks.csv", row.names = FALSE, quote = FALSE)
writeLines(c(R.version.string, paste("mvtnorm", packageVersion("mvtnorm")), paste("stats", packageVersion("stats"))), "sessionInfo.txt")

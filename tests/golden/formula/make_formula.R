# Reference design matrices and contrasts for tests/formula.
# Run in this folder: Rscript make_formula.R
# Reads table.csv and random.txt (made by random_formulas.py); writes cases.json (names and matrices of model.matrix), contrasts.json (emmeans) and
# random.json (names, and sums over the rows weighted by their number), polynomials.json and sessionInfo.txt. Needs jsonlite and emmeans.
#
# Rows that miss a value of a column of the formula are left out before anything is computed, and levels
# that no remaining row has are dropped. `python` is the formula in our language, `r` the one given to R
# where R writes it otherwise, `rename` turns R's column names into ours.
Sys.setlocale("LC_ALL", "C")
options(digits = 17, warn = 1)
suppressPackageStartupMessages({library(jsonlite); library(emmeans)})

read <- function() {
  d <- read.csv("table.csv", check.names = FALSE, stringsAsFactors = FALSE, na.strings = "")
  d$visit <- factor(d$visit, levels = c("screening", "C1D15", "C2D1"))
  for (n in c("arm", "sex", "site", "tumour type")) d[[n]] <- factor(d[[n]], levels = sort(unique(d[[n]])))
  d$treated <- d$treated == "TRUE"
  d
}
full <- read()
center <- function(x) x - mean(x)

cases <- list(
  c("~ 1"),
  c("~ visit"),
  c("~ visit + sex"),
  c("~ age"),
  c("~ visit + dose_mg"),
  c("~ visit * dose_mg"),
  c("~ dose_mg * visit"),
  c("~ 0 + visit"),
  c("~ visit - 1"),
  c("~ -1 + visit + sex"),
  c("~ 0 + visit + sex"),
  c("~ 0 + dose_mg + visit"),
  c("~ 0 + dose_mg"),
  c("~ visit:dose_mg"),
  c("~ dose_mg:visit"),
  c("~ dose_mg + visit:dose_mg"),
  c("~ visit + visit:dose_mg"),
  c("~ visit:sex"),
  c("~ 0 + visit:sex"),
  c("~ visit + visit:sex"),
  c("~ sex + visit:sex"),
  c("~ visit + sex:arm"),
  c("~ visit:sex + visit:arm"),
  c("~ visit * sex * arm"),
  c("~ (visit + sex + dose_mg)^2"),
  c("~ (visit + sex + arm + age)^3 - visit:sex:arm"),
  c("~ visit * sex - visit"),
  c("~ visit * sex - sex"),
  c("~ visit * sex * dose_mg - visit:sex:dose_mg"),
  c("~ sex:visit + visit"),
  c("~ age:dose_mg + visit"),
  c("~ visit + (sex + arm):dose_mg"),
  c("~ treated"),
  c("~ 0 + treated + visit"),
  c("~ treated * visit"),
  c("~ treated:dose_mg"),
  c("~ log(dose_mg) + log2(dose_mg) + log10(dose_mg) + sqrt(dose_mg)"),
  c("~ visit * log2(dose_mg)"),
  c("~ scale(age)"),
  c("~ visit * scale(age)"),
  c("~ center(age) + visit:center(age)"),
  c("~ scale(log2(dose_mg)) + center(scale(age))"),
  c("~ C(visit, sum)"),
  c("~ C(visit, helmert) * sex"),
  c("~ C(visit, poly)"),
  c("~ C(site, poly) + age"),
  c("~ C(site, helmert)"),
  c("~ C(site, sum):dose_mg + dose_mg"),
  c("~ 0 + C(visit, sum) + C(sex, sum)"),
  c("~ 0 + C(site, poly)"),
  c("~ C(visit, sum) * C(sex, helmert)"),
  c("~ C(visit) + sex"),
  c("~ C(visit, treatment)"),
  c("~ C(visit, treatment, base = \"C1D15\") * age",
    "~ C(visit, treatment, base = 2) * age",
    "C(visit, treatment, base = 2)1=C(visit, treatment, base = \"C1D15\")screening",
    "C(visit, treatment, base = 2)3=C(visit, treatment, base = \"C1D15\")C2D1"),
  c("~ C(cycle)", "~ C(factor(cycle))", "C(factor(cycle))=C(cycle)"),
  c("~ C(cycle, sum) * sex", "~ C(factor(cycle), sum) * sex", "C(factor(cycle), sum)=C(cycle, sum)"),
  c("~ C(treated, sum)", "~ C(factor(treated), sum)", "C(factor(treated), sum)=C(treated, sum)"),
  c("~ visit + marker"),
  c("~ visit * scale(marker)"),
  c("~ grade + visit"),
  c("~ visit + grade:marker"),
  c("~ `tumour type` * visit"),
  c("~ visit:`tumour type` + `LDH (U/L)`"),
  c("~ 0 + `tumour type`:`LDH (U/L)`"),
  c("~ visit + 0 + 1"),
  c("~ visit - 0"),
  c("~ sex - (visit - 1)"),
  c("~ visit + age - age"),
  c("~ marker + visit - marker"),
  c("~ ((visit + sex))^2 + (age)"),
  c("~ (visit:sex + visit)^2"),
  c("~ (sex + visit) * (arm + age)"),
  c("~ site + site:visit:sex"),
  c("~ 0 + age:visit + sex"),
  c("~ arm:visit:sex + age:visit")
)

columns_of <- function(f) intersect(all.vars(f), names(full))
droplevels_all <- function(d) { for (n in names(d)) if (is.factor(d[[n]])) d[[n]] <- droplevels(d[[n]]); d }

run <- function(case) {
  python <- case[1]
  f <- as.formula(if (length(case) > 1) case[2] else python)
  used <- if (length(columns_of(f))) complete.cases(full[, columns_of(f), drop = FALSE]) else rep(TRUE, nrow(full))
  x <- model.matrix(f, droplevels_all(full[used, , drop = FALSE]))
  names <- colnames(x)
  if (length(case) > 2) for (rule in case[-(1:2)]) {
    cut <- regexpr("=(?=C\\()", rule, perl = TRUE)
    names <- gsub(substr(rule, 1, cut - 1), substr(rule, cut + 1, nchar(rule)), names, fixed = TRUE)
  }
  list(formula = unbox(python), names = names, rows = which(used), matrix = unname(as.matrix(x)))
}
writeLines(toJSON(lapply(cases, run), digits = I(17), pretty = FALSE), "cases.json")

full$grade <- factor(full$grade)
run_random <- function(text) {
  f <- as.formula(text)
  used <- complete.cases(full[, columns_of(f), drop = FALSE])
  x <- model.matrix(f, droplevels_all(full[used, , drop = FALSE]))
  if (ncol(x) > 40) return(NULL)
  rows <- seq_len(nrow(x))
  list(formula = unbox(text), names = colnames(x), first = as.numeric(rows %*% x), second = as.numeric(rows %*% x^2))
}
found <- lapply(readLines("random.txt"), run_random)
writeLines(toJSON(found[!sapply(found, is.null)], digits = I(17)), "random.json")

# Contrasts: the coefficients that emmeans gives to visit differences in an lm of `y`.
# cov.keep empty: numbers with two values stay numbers, as in ours. emmeans cannot read C(visit, sum), so
# the coding is given to lm as `contrasts`.
emm_options(cov.keep = character(0))
contrasts <- list(
  list("~ visit", "C2D1 - screening"),
  list("~ visit + sex + age", "C1D15 - screening"),
  list("~ visit * dose_mg", "C2D1 - screening"),
  list("~ visit * dose_mg", "C2D1 - C1D15", list(dose_mg = 100)),
  list("~ visit * log2(dose_mg)", "C2D1 - screening"),
  list("~ visit * log2(dose_mg)", "C2D1 - screening", list(dose_mg = 30)),
  list("~ visit * sex", "C2D1 - screening"),
  list("~ visit * sex", "C2D1 - screening", list(sex = "F")),
  list("~ visit * sex * dose_mg", "screening - C1D15", list(sex = "M", dose_mg = 3)),
  list("~ visit * scale(age) + sex", "C2D1 - screening"),
  list("~ visit * arm + sex", "C2D1 - screening"),
  list("~ 0 + visit + visit:arm", "C1D15 - screening"),
  list("~ visit * treated", "C2D1 - screening"),
  list("~ C(visit, sum) * sex", "C2D1 - screening", NULL, "contr.sum"),
  list("~ C(visit, helmert) * age", "C2D1 - C1D15", NULL, "contr.helmert"),
  list("~ C(visit, poly) * arm", "C2D1 - screening", list(arm = "B"), "contr.poly"),
  list("~ visit * marker", "C2D1 - screening"),
  list("~ visit * grade * age", "C2D1 - screening"),
  list("~ sqrt(age):visit + visit + cycle", "C2D1 - screening"),
  list("~ visit:sex + age", "C1D15 - screening", list(sex = "M"))
)
run_contrast <- function(case) {
  f <- as.formula(gsub("C\\(visit, [a-z]+\\)", "visit", case[[1]]))
  d <- full[complete.cases(full[, c("visit", columns_of(f)), drop = FALSE]), ]
  d <- droplevels_all(d)
  d$y <- seq_len(nrow(d)) + sin(seq_len(nrow(d)))
  coding <- if (length(case) > 3) list(visit = case[[4]]) else NULL
  fit <- lm(update(f, y ~ .), d, contrasts = coding)
  at <- if (length(case) > 2) case[[3]] else NULL
  e <- suppressMessages(if (is.null(at)) emmeans(fit, "visit", data = d) else emmeans(fit, "visit", at = at, data = d))
  levels <- e@levels$visit
  sides <- strsplit(case[[2]], " - ", fixed = TRUE)[[1]]
  weights <- (levels == sides[1]) - (levels == sides[2])
  text <- case[[2]]
  if (!is.null(at)) text <- paste0(text, " at ", paste(names(at), "=", unlist(at), collapse = ", "))
  est <- suppressMessages(as.data.frame(contrast(e, list(k = weights))))
  list(formula = unbox(case[[1]]), contrast = unbox(text), names = names(coef(fit)),
       vector = as.numeric(weights %*% e@linfct), estimate = unbox(est$estimate), se = unbox(est$SE))
}
writeLines(toJSON(lapply(contrasts, run_contrast), digits = I(17)), "contrasts.json")

polynomials <- lapply(2:15, function(k) unname(contr.poly(k)))
writeLines(toJSON(polynomials, digits = I(17)), "polynomials.json")
writeLines(capture.output(sessionInfo()), "sessionInfo.txt")

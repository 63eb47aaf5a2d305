# Reference contrasts and marginal means for tests/formula/test_contrast_general.py and test_margins.py.
# Run in this folder: Rscript make_contrasts.R
# Reads table.csv; writes contrasts_general.json, margins.json and sessionInfo_contrasts.txt. Needs jsonlite and emmeans.
#
# Every contrast is given twice: as text in our language, and as cells with weights, which are looked up in the grid of
# emmeans(lm, columns named). Numbers get their values by `at`; factors keep all levels, so that proportional weights
# count all rows. `nesting = NULL`: no factor is taken to be nested in another, which emmeans guesses from visit:sex.
# margins.json holds what emmeans() and contrast(method, by) give of themselves.
Sys.setlocale("LC_ALL", "C")
options(digits = 17, warn = 1)
suppressPackageStartupMessages({library(jsonlite); library(emmeans)})
emm_options(cov.keep = character(0))

full <- read.csv("table.csv", check.names = FALSE, stringsAsFactors = FALSE, na.strings = "")
full$visit <- factor(full$visit, levels = c("screening", "C1D15", "C2D1"))
for (n in c("arm", "sex", "site", "tumour type")) full[[n]] <- factor(full[[n]], levels = sort(unique(full[[n]])))
full$treated <- full$treated == "TRUE"
full$cycle <- as.numeric(full$cycle)

model <- function(text) {
  f <- as.formula(gsub("C\\(visit, [a-z]+\\)", "visit", text))
  used <- all.vars(f)
  d <- full[complete.cases(full[, used, drop = FALSE]), ]
  for (n in names(d)) if (is.factor(d[[n]])) d[[n]] <- droplevels(d[[n]])
  d$y <- seq_len(nrow(d)) + sin(seq_len(nrow(d)))
  coding <- regmatches(text, regexpr("C\\(visit, [a-z]+\\)", text))
  coding <- if (length(coding)) list(visit = paste0("contr.", sub("C\\(visit, ([a-z]+)\\)", "\\1", coding)))
  list(fit = lm(update(f, y ~ .), d, contrasts = coding), data = d)
}
cell <- function(weight, ...) list(weight = weight, named = list(...))
S <- "screening"; M <- "C1D15"; E <- "C2D1"

cases <- list(
  list("~ visit * dose_mg", "dose_mg: 10 - 3 at C2D1", cell(1, dose_mg = 10, visit = E), cell(-1, dose_mg = 3, visit = E)),
  list("~ visit * dose_mg", "dose_mg: 10 - 3", cell(1, dose_mg = 10), cell(-1, dose_mg = 3)),
  list("~ visit + log2(dose_mg)", "dose_mg: 100 - 0.3 at C1D15", cell(1, dose_mg = 100, visit = M), cell(-1, dose_mg = 0.3, visit = M)),
  list("~ visit * log2(dose_mg) + sex", "(C2D1 - screening at dose_mg = 30) - (C2D1 - screening at dose_mg = 3)",
       cell(1, visit = E, dose_mg = 30), cell(-1, visit = S, dose_mg = 30), cell(-1, visit = E, dose_mg = 3), cell(1, visit = S, dose_mg = 3)),
  list("~ visit * dose_mg * sex", "dose_mg: 10 - 3 at C2D1, sex = F",
       cell(1, dose_mg = 10, visit = E, sex = "F"), cell(-1, dose_mg = 3, visit = E, sex = "F")),
  list("~ visit * arm", "arm: B - A at C2D1", cell(1, arm = "B", visit = E), cell(-1, arm = "A", visit = E)),
  list("~ visit * arm", "arm: C - B", cell(1, arm = "C"), cell(-1, arm = "B")),
  list("~ visit * arm + age", "(arm: B - A at C2D1) - (arm: B - A at screening)",
       cell(1, arm = "B", visit = E), cell(-1, arm = "A", visit = E), cell(-1, arm = "B", visit = S), cell(1, arm = "A", visit = S)),
  list("~ visit * arm", "(C2D1 - screening at arm = B) - (C2D1 - screening at arm = A)",
       cell(1, arm = "B", visit = E), cell(-1, arm = "A", visit = E), cell(-1, arm = "B", visit = S), cell(1, arm = "A", visit = S)),
  list("~ visit * arm + sex", "0.5 * (arm: B - A) + 0.5 * (arm: C - A) at visit = C2D1",
       cell(0.5, arm = "B", visit = E), cell(0.5, arm = "C", visit = E), cell(-1, arm = "A", visit = E)),
  list("~ visit * sex", "(C1D15 + C2D1)/2 - screening", cell(0.5, visit = M), cell(0.5, visit = E), cell(-1, visit = S)),
  list("~ visit * sex", "(C1D15 + C2D1)/2 - screening at sex = M",
       cell(0.5, visit = M, sex = "M"), cell(0.5, visit = E, sex = "M"), cell(-1, visit = S, sex = "M")),
  list("~ visit * scale(age)", "1/3 * (C2D1 - screening) + 2/3 * (C1D15 - screening) at age = 70",
       cell(1/3, visit = E, age = 70), cell(2/3, visit = M, age = 70), cell(-1, visit = S, age = 70)),
  list("~ visit * sex * dose_mg", "(sex: F - M at C2D1, dose_mg = 10) - (sex: F - M at screening, dose_mg = 10)",
       cell(1, sex = "F", visit = E, dose_mg = 10), cell(-1, sex = "M", visit = E, dose_mg = 10),
       cell(-1, sex = "F", visit = S, dose_mg = 10), cell(1, sex = "M", visit = S, dose_mg = 10)),
  list("~ visit * sex * dose_mg",
       "((sex: F - M at C2D1) - (sex: F - M at screening) at dose_mg = 30) - ((sex: F - M at C2D1) - (sex: F - M at screening) at dose_mg = 1)",
       cell(1, sex = "F", visit = E, dose_mg = 30), cell(-1, sex = "M", visit = E, dose_mg = 30),
       cell(-1, sex = "F", visit = S, dose_mg = 30), cell(1, sex = "M", visit = S, dose_mg = 30),
       cell(-1, sex = "F", visit = E, dose_mg = 1), cell(1, sex = "M", visit = E, dose_mg = 1),
       cell(1, sex = "F", visit = S, dose_mg = 1), cell(-1, sex = "M", visit = S, dose_mg = 1)),
  list("~ visit * treated", "treated: TRUE - FALSE at C1D15", cell(1, treated = TRUE, visit = M), cell(-1, treated = FALSE, visit = M)),
  list("~ visit * marker + age", "marker: 6 - 2 at screening, age = 50",
       cell(1, marker = 6, visit = S, age = 50), cell(-1, marker = 2, visit = S, age = 50)),
  list("~ 0 + visit + visit:arm", "arm: C - A at C1D15", cell(1, arm = "C", visit = M), cell(-1, arm = "A", visit = M)),
  list("~ visit:sex + age", "(C2D1 - screening at sex = F) - (C2D1 - screening at sex = M)",
       cell(1, visit = E, sex = "F"), cell(-1, visit = S, sex = "F"), cell(-1, visit = E, sex = "M"), cell(1, visit = S, sex = "M")),
  list("~ C(visit, sum) * sex", "(C2D1 at sex = F) - (screening at sex = M)", cell(1, visit = E, sex = "F"), cell(-1, visit = S, sex = "M")),
  list("~ C(visit, helmert) * dose_mg", "dose_mg: 10 - 3 at C2D1", cell(1, dose_mg = 10, visit = E), cell(-1, dose_mg = 3, visit = E)),
  list("~ visit * arm + sex + site", "C2D1 - screening", cell(1, visit = E), cell(-1, visit = S), weights = "proportional"),
  list("~ visit * arm + visit * sex", "C2D1 - screening", cell(1, visit = E), cell(-1, visit = S), weights = "proportional"),
  list("~ visit * sex * treated", "C1D15 - screening", cell(1, visit = M), cell(-1, visit = S), weights = "proportional"),
  list("~ visit * sex * treated", "C1D15 - screening at sex = F", cell(1, visit = M, sex = "F"), cell(-1, visit = S, sex = "F"), weights = "proportional"),
  list("~ visit * arm * dose_mg", "dose_mg: 10 - 3 at C2D1", cell(1, dose_mg = 10, visit = E), cell(-1, dose_mg = 3, visit = E), weights = "proportional"),
  list("~ visit * sex + arm * dose_mg", "dose_mg: 10 - 3", cell(1, dose_mg = 10), cell(-1, dose_mg = 3), weights = "proportional"),
  list("~ visit * grade + visit * sex", "(C2D1 - screening at sex = F) - (C2D1 - screening at sex = M)",
       cell(1, visit = E, sex = "F"), cell(-1, visit = S, sex = "F"), cell(-1, visit = E, sex = "M"), cell(1, visit = S, sex = "M"), weights = "proportional"),
  list("~ visit * grade * age", "grade: III - I", cell(1, grade = "III"), cell(-1, grade = "I"), weights = "proportional"),
  list("~ visit * arm + sex * treated", "(arm: B - A) + (arm: C - A) at C2D1",
       cell(1, arm = "B", visit = E), cell(1, arm = "C", visit = E), cell(-2, arm = "A", visit = E), weights = "proportional"),
  list("~ visit * arm + sex * treated", "2 * (sex: F - M) + (C2D1 - screening)",
       cell(2, sex = "F"), cell(-2, sex = "M"), list(weight = 1, named = list(visit = E)), list(weight = -1, named = list(visit = S)))
)

cell_mean <- function(m, named, weights) {
  numbers <- Filter(function(n) is.numeric(m$data[[n]]), names(named))
  e <- suppressMessages(emmeans(m$fit, names(named), at = named[numbers], weights = weights, data = m$data, nesting = NULL))
  keep <- rep(TRUE, nrow(e@grid))
  for (n in names(named)) keep <- keep & as.character(e@grid[[n]]) == as.character(named[[n]])
  stopifnot(sum(keep) == 1)
  as.numeric(e@linfct[keep, ])
}

run <- function(case) {
  m <- model(case[[1]])
  weights <- if (is.null(case$weights)) "equal" else case$weights
  cells <- case[vapply(case, is.list, TRUE)]
  vector <- Reduce(`+`, lapply(cells, function(x) x$weight * cell_mean(m, x$named, weights)))
  # Estimate and SE by emmeans itself: the cells joined, then contrast().
  g <- suppressMessages(ref_grid(m$fit, data = m$data, nesting = NULL))
  g@linfct <- do.call(rbind, lapply(cells, function(x) cell_mean(m, x$named, weights)))
  g@grid <- data.frame(cell = factor(seq_along(cells)))
  g@levels <- list(cell = levels(g@grid$cell))
  g@misc$pri.vars <- "cell"; g@roles$predictors <- "cell"; g@misc$display <- NULL
  k <- as.data.frame(contrast(g, list(k = vapply(cells, function(x) x$weight, 0))))
  list(formula = unbox(case[[1]]), contrast = unbox(case[[2]]), weights = unbox(weights), names = names(coef(m$fit)),
       vector = vector, estimate = unbox(k$estimate), se = unbox(k$SE))
}
writeLines(toJSON(lapply(cases, run), digits = I(17)), "contrasts_general.json")

margins <- list(
  list(f = "~ visit", names = "visit", method = "pairwise"),
  list(f = "~ visit * sex", names = c("visit", "sex"), method = "revpairwise", by = "sex"),
  list(f = "~ visit * arm + age", names = c("visit", "arm"), method = "trt.vs.ctrl", by = "arm"),
  list(f = "~ visit * arm + age", names = c("arm", "visit"), method = "pairwise"),
  list(f = "~ visit * dose_mg", names = c("visit", "dose_mg"), at = list(dose_mg = c(1, 10, 100)), method = "trt.vs.ctrl", by = "dose_mg"),
  list(f = "~ visit * log2(dose_mg)", names = c("dose_mg", "visit"), at = list(dose_mg = c(3, 30)), method = "revpairwise", by = "visit"),
  list(f = "~ visit * sex * dose_mg", names = "visit", at = list(dose_mg = 10, sex = "F"), method = "pairwise"),
  list(f = "~ visit * arm + sex * treated", names = "visit", method = "pairwise", weights = "proportional"),
  list(f = "~ visit * sex + visit * treated + arm", names = c("visit", "sex"), method = "trt.vs.ctrl", weights = "proportional"),
  list(f = "~ visit * grade + marker", names = "grade", at = list(marker = 5), method = "revpairwise", weights = "proportional")
)
run_margins <- function(case) {
  m <- model(case$f)
  weights <- if (is.null(case$weights)) "equal" else case$weights
  at <- if (length(case$at)) case$at else NULL
  arguments <- list(m$fit, case$names, weights = weights, data = m$data)
  if (!is.null(at)) arguments$at <- at
  e <- suppressMessages(do.call(emmeans, arguments))
  k <- contrast(e, case$method, by = case$by)
  means <- suppressMessages(as.data.frame(e)); compared <- suppressMessages(as.data.frame(k, adjust = "none"))
  list(formula = unbox(case$f), names = I(case$names), at = if (is.null(at)) setNames(list(), character(0)) else lapply(at, I),
       method = unbox(case$method), by = I(if (is.null(case$by)) character(0) else case$by), weights = unbox(weights),
       labels = apply(as.matrix(e@grid[case$names]), 1, function(r) paste(trimws(r), collapse = " ")),
       rows = unname(e@linfct), mean = means$emmean, mean_se = means$SE,
       compared = as.character(compared$contrast), vectors = unname(k@linfct), estimate = compared$estimate, se = compared$SE)
}
writeLines(toJSON(lapply(margins, run_margins), digits = I(17)), "margins.json")
writeLines(capture.output(sessionInfo()), "sessionInfo_contrasts.txt")

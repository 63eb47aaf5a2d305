# Normalisation of bulk counts by edgeR, limma and DESeq2. Usage: Rscript make_bulk_norm.R, in this folder.
# Two simulated matrices of 300 genes: `dense` (12 libraries of unequal depth and quality, two visits of six
# participants) and `sparse` (10 libraries, every gene zero somewhere).
suppressMessages({library(limma); library(edgeR); library(DESeq2)})
mat <- function(m, f) write.csv(data.frame(gene = rownames(m), signif(m, 12), check.names = FALSE), f, row.names = FALSE, quote = FALSE)
tab <- function(d, f) { d[] <- lapply(d, function(c) if (is.double(c)) signif(c, 13) else c); write.csv(d, f, row.names = FALSE, quote = FALSE) }

set.seed(20261126)
G <- 300; n <- 12
participant <- factor(rep(paste0("P", 1:6), each = 2)); visit <- factor(rep(c("pre", "on"), 6), levels = c("pre", "on"))
batch <- factor(rep(c("b1", "b1", "b2", "b2", "b1", "b2"), 2))
mu <- rgamma(G, .6, scale = 400) + 1
depth <- exp(rnorm(n, 0, .5)); effect <- c(rnorm(40, 1.2, .3), rep(0, G - 40))
eta <- outer(log2(mu), log2(depth), "+") + outer(effect, as.numeric(visit == "on")) + outer(rep(1, G), rnorm(6, 0, .2)[participant]) + matrix(rnorm(G * 6, 0, .5), G)[, participant]
eta[, c(3, 8)] <- eta[, c(3, 8)] + rnorm(2 * G, 0, .9)     # two libraries of poor quality
dense <- matrix(rnbinom(G * n, mu = 2^eta, size = 1 / (.08 + 2 / rep(mu, n))), G, dimnames = list(sprintf("G%03d", 1:G), sprintf("L%02d", 1:n)))
storage.mode(dense) <- "integer"
sparse <- matrix(rnbinom(G * 10, mu = outer(rgamma(G, .5, scale = 12), exp(rnorm(10, 0, .4))), size = 1.5), G, dimnames = list(sprintf("G%03d", 1:G), sprintf("S%02d", 1:10)))
for (g in 1:G) if (all(sparse[g, ] > 0)) sparse[g, sample(10, 1)] <- 0L
storage.mode(sparse) <- "integer"
mat(dense, "dense_counts.csv"); mat(sparse, "sparse_counts.csv")
design <- model.matrix(~visit); tab(data.frame(library = colnames(dense), participant, visit, batch), "dense_libraries.csv")

factors <- function(x) sapply(c("TMM", "TMMwsp", "RLE", "upperquartile"), function(m) calcNormFactors(DGEList(x), method = m)$samples$norm.factors)
tab(data.frame(library = colnames(dense), factors(dense), ratio = estimateSizeFactorsForMatrix(dense), poscounts = sizeFactors(estimateSizeFactors(DESeqDataSetFromMatrix(dense, data.frame(visit), ~1), type = "poscounts"))), "dense_factors.csv")
sf <- function(x) suppressWarnings(sapply(c("TMM", "TMMwsp", "upperquartile"), function(m) calcNormFactors(DGEList(x), method = m)$samples$norm.factors))
tab(data.frame(library = colnames(sparse), sf(sparse), poscounts = sizeFactors(estimateSizeFactors(DESeqDataSetFromMatrix(sparse, data.frame(v = 1:10), ~1), type = "poscounts"))), "sparse_factors.csv")

# variance stabilisation: blind, parametric dispersion trend
dds <- estimateSizeFactors(DESeqDataSetFromMatrix(dense, data.frame(visit), ~1)); b <- suppressMessages(estimateDispersionsFit(estimateDispersionsGeneEst(dds, quiet = TRUE), fitType = "parametric", quiet = TRUE))
co <- attr(dispersionFunction(b), "coefficients"); tab(data.frame(what = names(co), value = unname(co)), "vst_trend.csv")
tab(data.frame(gene = rownames(dense), mean = mcols(b)$baseMean, dispersion = mcols(b)$dispGeneEst), "vst_dispersions.csv")
mat(suppressMessages(assay(varianceStabilizingTransformation(dds, blind = TRUE))), "vst.csv")

# voom: plain, with a correlation within participants, with quality weights
y <- calcNormFactors(DGEList(dense)); keep <- filterByExpr(y, design); y <- y[keep, , keep.lib.sizes = FALSE]; y <- calcNormFactors(y)
tab(data.frame(gene = rownames(dense), kept = keep), "kept.csv")
v <- voom(y, design); c1 <- duplicateCorrelation(v, design, block = participant); v2 <- voom(y, design, block = participant, correlation = c1$consensus); c2 <- duplicateCorrelation(v2, design, block = participant)
W <- v2$weights; dimnames(W) <- dimnames(v2$E); mat(W, "voom_block_weights.csv")
q <- voomWithQualityWeights(y, design); Q <- q$weights; dimnames(Q) <- dimnames(q$E); mat(Q, "voom_quality_weights.csv")
a <- arrayWeights(v, design, method = "genebygene"); r <- arrayWeights(v$E, design, method = "reml")
tab(data.frame(library = colnames(dense), quality = q$targets$sample.weights, array_weights = a), "sample_weights.csv")
f <- eBayes(lmFit(v2, design, block = participant, correlation = c2$consensus)); tt <- topTable(f, coef = 2, n = Inf, sort.by = "none")
tab(data.frame(what = c("rho_first", "rho_second", "called_at_5pct"), value = c(c1$consensus, c2$consensus, sum(tt$adj.P.Val < .05))), "dupcor.csv")
mat(removeBatchEffect(v$E, batch = batch, design = design), "without_batch.csv")
sink("sessionInfo.txt"); print(sessionInfo()); sink()

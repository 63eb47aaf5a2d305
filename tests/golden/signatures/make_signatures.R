# Gene-set scores (GSVA) and gene-set tests (limma). usage: Rscript make_signatures.R ; run in this folder
suppressMessages({library(GSVA);library(limma);library(edgeR)})
wr<-function(x,f) { x[]<-lapply(x,function(c) if(is.double(c)) signif(c,15) else c); write.csv(x,f,row.names=FALSE,quote=FALSE) }
set.seed(11); G<-120; n<-14
lam<-exp(rnorm(G,2,1.6)); eff<-matrix(rnorm(G*n,0,.4),G); cnt<-matrix(rpois(G*n,lam*exp(eff)),G); cnt[1:6,]<-rpois(6*n,.3); cnt[7,]<-0L; cnt[8,]<-5L
rownames(cnt)<-sprintf("g%03d",1:G); colnames(cnt)<-sprintf("s%02d",1:n)
lc<-log2(t((t(cnt)+.5)/(colSums(cnt)+1)*1e6)); tied<-round(lc)   # whole numbers: many ties within library and gene
sets<-list(s1="g020",s2=c("g030","g031"),s5=sample(rownames(cnt)[9:G],5),s12=sample(rownames(cnt)[9:G],12),s40=sample(rownames(cnt)[9:G],40),low=rownames(cnt)[1:6])
wr(data.frame(gene=rownames(cnt),cnt,check.names=FALSE),"counts.csv"); wr(do.call(rbind,lapply(names(sets),function(k) data.frame(set=k,gene=sets[[k]]))),"sets.csv")
out<-list(); add<-function(tag,a) out[[tag]]<<-data.frame(case=tag,set=rownames(a),a,check.names=FALSE)
run<-function(x,m,...) suppressWarnings(gsva(x,sets,method=m,verbose=FALSE,min.sz=1,...))
for(i in 1:2){ x<-list(lc,tied)[[i]]; k<-c("logcpm","tied")[i]
 add(paste0(k,"/gsva"),run(x,"gsva")); add(paste0(k,"/ssgsea"),run(x,"ssgsea",ssgsea.norm=FALSE)); add(paste0(k,"/ssgsea_norm"),run(x,"ssgsea")); add(paste0(k,"/zscore"),run(x,"zscore")); add(paste0(k,"/plage"),run(x,"plage")) }
add("counts/gsva_poisson",run(cnt,"gsva",kcdf="Poisson"))
wr(do.call(rbind,out),"gsva_scores.csv")
# limma: camera, cameraPR, fry, on a paired design with voom weights and with a blocking correlation
s<-data.frame(participant=factor(rep(1:7,each=2)),visit=factor(rep(c("pre","on"),7),levels=c("pre","on")))
keep<-rowSums(cnt)>20; k2<-cnt[keep,]; k2[rownames(k2)%in%sets$s12,s$visit=="on"]<-k2[rownames(k2)%in%sets$s12,s$visit=="on"]*2L
wr(data.frame(gene=rownames(k2),k2,check.names=FALSE),"test_counts.csv")
y<-DGEList(k2); X<-model.matrix(~visit,s); v<-voom(y,X); idx<-ids2indices(sets,rownames(k2),remove.empty=TRUE)
rows<-list(); put<-function(case,t) { t<-as.data.frame(t); t<-data.frame(case=case,set=rownames(t),NGenes=t$NGenes,Correlation=if(is.null(t$Correlation)) NA else t$Correlation,Direction=t$Direction,PValue=t$PValue,PValue.Mixed=if(is.null(t$PValue.Mixed)) NA else t$PValue.Mixed); rows[[case]]<<-t }
f<-eBayes(lmFit(v$E,X)); wr(data.frame(gene=rownames(k2),t=f$t[,2],df_total=f$df.total,z=zscoreT(f$t[,2],f$df.total)),"statistics.csv")
st<-f$t[,2]
put("cameraPR/t/0.01",cameraPR(st,idx,sort=FALSE)); put("cameraPR/t/0.1",cameraPR(st,idx,inter.gene.cor=.1,sort=FALSE)); put("cameraPR/t/0",cameraPR(st,idx,inter.gene.cor=0,sort=FALSE)); put("cameraPR/ranks/0.05",cameraPR(st,idx,use.ranks=TRUE,inter.gene.cor=.05,sort=FALSE))
put("camera/plain/0.01",camera(v$E,idx,X,contrast=2,sort=FALSE)); put("camera/plain/estimated",camera(v$E,idx,X,contrast=2,inter.gene.cor=NA,sort=FALSE)); put("camera/voom/0.01",camera(v,idx,X,contrast=2,sort=FALSE)); put("camera/voom/estimated",camera(v,idx,X,contrast=2,inter.gene.cor=NA,sort=FALSE))
Xp<-model.matrix(~participant+visit,s); put("camera/paired/0.01",camera(v$E,idx,Xp,sort=FALSE)); put("fry/paired",fry(v$E,idx,Xp,sort="none"))
put("fry/plain",fry(v$E,idx,X,contrast=2,sort="none")); put("fry/voom",fry(v,idx,X,contrast=2,sort="none")); put("fry/plain/none",fry(v$E,idx,X,contrast=2,standardize="none",sort="none")); put("fry/plain/residual.sd",fry(v$E,idx,X,contrast=2,standardize="residual.sd",sort="none"))
dc<-duplicateCorrelation(v$E,X,block=s$participant)$consensus
put("fry/block",fry(v$E,idx,X,contrast=2,block=s$participant,correlation=dc,sort="none")); put("fry/voom_block",fry(v,idx,X,contrast=2,block=s$participant,correlation=dc,sort="none"))
wr(do.call(rbind,rows),"gene_set_tests.csv"); wr(data.frame(what="correlation",value=dc),"correlation.csv")
W<-v$weights; dimnames(W)<-dimnames(v$E); wr(data.frame(gene=rownames(k2),v$E,check.names=FALSE),"voom_E.csv"); wr(data.frame(gene=rownames(k2),W,check.names=FALSE),"voom_weights.csv")
sink("sessionInfo.txt"); print(sessionInfo()); sink()

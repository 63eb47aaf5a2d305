# squeezeVar of limma 3.54.1 (R 4.2.2) on simulated variances. usage: Rscript make_squeeze.R ; writes squeeze_cases.csv
suppressMessages(library(limma)); set.seed(11); n<-150
df<-runif(n,2,30); c<-rnorm(n,5,2); out<-c(1e3,3e2,1e2,50,30,20,10,5)
x<-exp(sin(c)/2)*rf(n,df,5); x[1:8]<-x[1:8]*out; xe<-exp(sin(c)/2)*rf(n,12,8); xe[1:8]<-xe[1:8]*out; xh<-rchisq(n,12)/12; xh[1:4]<-xh[1:4]*c(1e3,30,8,4)
u<-(seq_len(n)-.5)/n; even<-sample(qchisq(u*.8+.1,10)/10); xi<-even; xi[1:3]<-xi[1:3]*c(200,15,6)
z<-rf(n,10,6); z[4]<-0; z[9]<-NA; dz<-rep(10,n); dz[12]<-0; steps<-rep(c(1,2,2,3,2),n/5)
rows<-list(); add<-function(case,s2,df,covariate=NULL,robust=FALSE) { df<-rep_len(df,length(s2)); q<-suppressWarnings(squeezeVar(s2,df,covariate=covariate,robust=robust)); m<-length(s2)
  rows[[case]]<<-data.frame(case,robust=robust,s2,df,covariate=if(is.null(covariate)) NA else covariate,d0=rep_len(q$df.prior,m),s0=rep_len(q$var.prior,m),post=q$var.post) }
for(r in c(FALSE,TRUE)) { t<-if(r) "_robust" else ""
  add(paste0("unequal",t),x,df,robust=r); add(paste0("unequal_trend",t),x,df,c,r); add(paste0("equal",t),xe,12,robust=r); add(paste0("equal_trend",t),xe,12,c,r)
  add(paste0("nearly_equal_variances",t),xh,12,robust=r); add(paste0("infinite",t),even,10,robust=r); add(paste0("infinite_outliers",t),xi,10,robust=r); add(paste0("infinite_trend",t),xi,10,c,r); add(paste0("infinite_unequal",t),xi,df,robust=r)
  add(paste0("zero_missing_df0",t),z,dz,robust=r); add(paste0("zero_missing_df0_trend",t),z,dz,c,r); add(paste0("tied_covariate",t),abs(z)+.1,10,steps,r) }
for(k in c(2,3,5,6,29,30)) add(paste0("first",k),x[20+seq_len(k)],df[20+seq_len(k)],c[20+seq_len(k)])
d<-do.call(rbind,rows); f<-function(v) ifelse(is.na(v),"",ifelse(is.infinite(v),"inf",formatC(v,digits=15,format="g",width=1))); for(k in c("s2","df","covariate","d0","s0","post")) d[[k]]<-f(d[[k]])
write.csv(d,"squeeze_cases.csv",row.names=FALSE,quote=FALSE)

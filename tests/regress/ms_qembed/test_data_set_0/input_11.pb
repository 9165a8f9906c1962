Bgamma_sJ
ף;
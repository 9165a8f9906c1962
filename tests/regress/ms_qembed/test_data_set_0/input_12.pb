Bbeta_sJ
ף<
Bword_sJ
ף<
Bkind_sJ
×#<
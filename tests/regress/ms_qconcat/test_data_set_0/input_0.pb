Bto_sJ
×#=
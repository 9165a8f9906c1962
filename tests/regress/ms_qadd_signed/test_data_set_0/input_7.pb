Bto_zJ

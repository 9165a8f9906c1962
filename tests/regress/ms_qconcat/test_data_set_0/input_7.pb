Bb_zJ

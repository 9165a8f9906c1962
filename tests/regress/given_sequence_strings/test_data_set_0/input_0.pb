
s2ja2nein2
vielleicht
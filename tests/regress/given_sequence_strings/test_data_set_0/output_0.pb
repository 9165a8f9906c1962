
y2
vielleicht2ja2nein2
vielleicht
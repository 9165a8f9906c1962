2
vielleichtBa
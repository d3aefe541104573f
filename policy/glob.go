package policy

// Glob reports whether s matches a pattern of sshd_config, in which * stands for any bytes and ? for one. Case counts.
func Glob(pattern, s string) bool { return glob(pattern, s) }

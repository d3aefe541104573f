package ftp

import "strings"

// Masked stands in a line for what may be a password.
const Masked = "****"

// Shown returns a command line as a person may see it, and the words in it that may be a password, which are masked. These are
// the arguments of PASS, ACCT and ADAT, those of a SITE that changes a password, what is before the host of a URL, and whatever isn't known: it
// may be a password that was typed too early.
func Shown(line string) (shown string, secrets []string) {
	c := parseCommand([]byte(line))
	_, known := verbs[c.verb]
	first, rest, _ := strings.Cut(c.arg(), " ")
	switch {
	case c.refusal != "" || !known:
		return Masked, strings.Fields(line)
	case c.verb == "PASS" || c.verb == "ACCT" || c.verb == "ADAT":
		return line[:len(c.verb)] + " " + Masked, []string{c.arg()}
	case c.verb == "SITE" && rest != "" && strings.Contains("PSWD PASS PASSWD PASSWORD CHPASS CPWD", strings.ToUpper(first)):
		return line[:len("SITE ")+len(first)] + " " + Masked, strings.Fields(rest)
	}
	if login := loginOfURL(c.arg()); login != "" {
		return strings.Replace(line, login, Masked, 1), []string{login}
	}
	return line, nil
}

// loginOfURL returns what is before the host of a URL: a user's name, and perhaps a password. Programs that take an FTP server for a proxy of HTTP's ask
// it for the directory of such a name. Whatever is in a password, the last @ ends it.
func loginOfURL(s string) string {
	scheme, rest, isURL := strings.Cut(s, "://")
	if end := strings.LastIndexByte(rest, '@'); isURL && strings.EqualFold(scheme, "ftp") && end > 0 {
		return rest[:end]
	}
	return ""
}

// withoutLogin is a path as a log may have it.
func withoutLogin(path string) string {
	if login := loginOfURL(path); login != "" {
		return strings.Replace(path, login, Masked, 1)
	}
	return path
}

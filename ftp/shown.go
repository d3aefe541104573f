package ftp

import "strings"

// Masked stands in a line for what may be a password.
const Masked = "****"

// Shown returns a command line as a person may see it, and the words in it that may be a password, which are masked. These are
// the arguments of PASS, ACCT and ADAT, those of a SITE that changes a password, and whatever isn't known: it may be a password that was
// typed too early.
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
	return line, nil
}

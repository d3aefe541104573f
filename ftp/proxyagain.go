package ftp

import "strings"

const otherServer = "530 This connection goes to the server that was named first: connect again"

// Again is Options.Means of the session that follows: a client that logs in once more, as after a wrong password, names the server once
// more. One that then means another would tell this one its password.
func (p *ProxyLogin) Again(verb, arg string) (meant, refusal string) {
	if p.opt.Host != "" { // nobody names one
		return arg, ""
	}
	names := false
	switch verb {
	case "USER":
		return p.userAgain(arg)
	case "OPEN":
		names = true
	case "SITE": // what servers know by one word has none of these in it
		_, _, err := parseServer(arg)
		names = err == nil && strings.ContainsAny(arg, ".:")
	case "CWD":
		_, names, _ = parseURL(arg)
	}
	if names {
		return "", otherServer
	}
	return arg, ""
}

func (p *ProxyLogin) userAgain(arg string) (name, refusal string) {
	n, err := parseProxyUser(arg)
	forProxy := err == nil && n.host != "" && (n.proxy != "" || p.opt.User != "" && (n.user == p.opt.User || strings.HasSuffix(n.user, "@"+p.opt.User)))
	switch {
	case !strings.Contains(arg, "@"), !p.named && !forProxy: // there are user names with an @ in them
		return arg, ""
	case err != nil:
		return "", "501 " + err.Error()
	case forProxy || !strings.EqualFold(n.host, p.meant.Host) || n.port != p.meant.Port:
		return "", otherServer
	}
	return n.user, ""
}

package policy

import (
	"fmt"
	"net"
	"strings"
)

func (o oracle) decideListen() answer {
	host, port := o.r.Target.Host, o.r.Target.Port
	ip := net.ParseIP(host)
	if ip == nil && host != "" && host != "*" && !strings.EqualFold(host, "localhost") || port != 0 && port < 1024 {
		return answer{}
	}
	if rule, refused := o.forwarding("remote"); refused {
		return answer{rule: rule}
	}
	spelled := strings.ToLower(host)
	if ip != nil {
		spelled = ip.String()
	}
	at := o.first(func(sc sketchScope) bool { return sc.hasListen })
	if at < 0 {
		return answer{}
	}
	rule := fmt.Sprintf("listen:%d", at)
	ftp := o.r.Action == ListenFTP
	if !oracleListen(o.scopes[at].listen, ftp, spelled, port) {
		return answer{rule: rule}
	}
	if key := strings.Fields(o.keyListen); len(key) > 0 && !oracleListen(key, ftp, spelled, port) {
		return answer{rule: "key"}
	}
	gateway := "no"
	if i := o.first(func(sc sketchScope) bool { return sc.gateway != "" }); i >= 0 {
		gateway = o.scopes[i].gateway
	}
	return answer{allowed: true, ftp: map[bool]string{true: "ftp"}[ftp], rule: rule, bind: oracleBind(gateway, spelled)}
}

func oracleListen(list []string, ftp bool, spelled string, port uint16) bool {
	for _, word := range list {
		if strings.HasPrefix(word, "ftp/") != ftp {
			continue
		}
		word = strings.TrimPrefix(word, "ftp/")
		host, number := "*", word
		if colon := strings.LastIndex(word, ":"); colon >= 0 {
			host, number = strings.Trim(word[:colon], "[]"), word[colon+1:]
		}
		if oracleGlob(host).MatchString(spelled) && (number == "*" || number == fmt.Sprint(port)) {
			return true
		}
	}
	return false
}

// oracleBind is the table of what sshd's manual says about GatewayPorts, and what the source does about addresses of the loopback.
func oracleBind(gateway, spelled string) string {
	const loopback, wildcard = "127.0.0.1 ::1", "0.0.0.0 ::"
	if gateway == "yes" {
		return wildcard
	}
	switch spelled {
	case "127.0.0.1", "::1":
		return spelled
	case "localhost":
		return loopback
	case "", "*":
		if gateway == "clientspecified" {
			return wildcard
		}
		return loopback
	}
	if gateway == "clientspecified" {
		return spelled
	}
	return loopback
}

// admit goes through the lists in the order of sshd_config(5).
func (o oracle) admit() answer {
	a := answer{allowed: true}
	for _, list := range []struct {
		name string
		of   func(sketchScope) []string
		deny bool
		hits func(string) bool
	}{
		{"denyusers", func(sc sketchScope) []string { return sc.denyUsers }, true, o.isUser},
		{"allowusers", func(sc sketchScope) []string { return sc.allowUsers }, false, o.isUser},
		{"denygroups", func(sc sketchScope) []string { return sc.denyGroups }, true, o.isGroup},
		{"allowgroups", func(sc sketchScope) []string { return sc.allowGroups }, false, o.isGroup},
	} {
		var rules, words []string
		for _, i := range o.applicable() {
			if i == len(o.scopes)-1 && len(words) > 0 {
				continue // a Match list takes the place of the global one
			}
			for j, word := range list.of(o.scopes[i]) {
				rules, words = append(rules, fmt.Sprintf("%s:%d.%d", list.name, i, j)), append(words, word)
			}
		}
		if len(words) == 0 {
			continue
		}
		if strings.HasSuffix(list.name, "groups") && len(o.r.Subject.Groups) == 0 {
			return answer{rule: rules[0]}
		}
		hit := -1
		for j := len(words) - 1; j >= 0; j-- {
			if list.hits(words[j]) {
				hit = j
			}
		}
		switch {
		case list.deny && hit >= 0:
			return answer{rule: rules[hit]}
		case list.deny:
		case hit < 0:
			return answer{rule: rules[0]}
		default:
			a.rule = rules[hit]
		}
	}
	return a
}

func (o oracle) isUser(word string) bool {
	user, from, has := strings.Cut(word, "@")
	return oracleGlob(user).MatchString(o.r.Subject.User) && (!has || oracleList(from, []string{o.r.Subject.Addr.String()}))
}

func (o oracle) isGroup(word string) bool { return oracleList(word, o.r.Subject.Groups) }

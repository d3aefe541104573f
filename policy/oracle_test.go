package policy

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// oracle decides as the manual says it, over text, with regular expressions and package net.
type oracle struct {
	sketch
	r Request
}

// answer is what the oracle says.
type answer struct {
	allowed bool
	ftp     string // "ftp", "control" without data, or neither
	bind    string
	rule    string
}

// answerOf is a decision in the words of the oracle.
func answerOf(d Decision) answer {
	a := answer{allowed: d.Allowed(), rule: d.Rule}
	if d.FTP != nil {
		a.ftp = map[bool]string{true: "ftp", false: "control"}[d.FTP.Data]
	}
	for _, addr := range d.Bind {
		a.bind = strings.TrimSpace(a.bind + " " + addr.String())
	}
	return a
}

func (o oracle) applicable() []int {
	var all []int
	for i, sc := range o.scopes {
		if i == len(o.scopes)-1 || o.holds(sc.match) {
			all = append(all, i)
		}
	}
	return all
}

// first is the first scope that applies and says something, or -1.
func (o oracle) first(says func(sketchScope) bool) int {
	for _, i := range o.applicable() {
		if says(o.scopes[i]) {
			return i
		}
	}
	return -1
}

func (o oracle) holds(match string) bool {
	name, list, _ := strings.Cut(match, " ")
	var values []string
	switch name {
	case "all":
		return true
	case "Time":
		return oracleTime(list, o.r.Time)
	case "User":
		values = []string{o.r.Subject.User}
	case "Group":
		values = o.r.Subject.Groups
	case "Address":
		values = []string{o.r.Subject.Addr.String()}
	}
	return oracleList(list, values)
}

// oracleList is whether some value hits some pattern, and no value a negated one.
func oracleList(list string, values []string) bool {
	positive, negative := false, false
	for _, word := range strings.Split(list, ",") {
		for _, value := range values {
			hit := oracleGlob(strings.TrimPrefix(word, "!")).MatchString(value)
			if _, network, err := net.ParseCIDR(strings.TrimPrefix(word, "!")); err == nil {
				hit = network.Contains(net.ParseIP(value))
			}
			if strings.HasPrefix(word, "!") {
				negative = negative || hit
			} else {
				positive = positive || hit
			}
		}
	}
	return positive && !negative
}

// oracleGlobs are the patterns that were compiled before.
var oracleGlobs sync.Map

func oracleGlob(pattern string) *regexp.Regexp {
	if compiled, ok := oracleGlobs.Load(pattern); ok {
		return compiled.(*regexp.Regexp)
	}
	compiled := regexp.MustCompile(`^` + strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(pattern)) + `$`)
	oracleGlobs.Store(pattern, compiled)
	return compiled
}

// oracleTime lays out the intervals of yesterday and today and looks whether now is in one.
func oracleTime(value string, now time.Time) bool {
	names := "MonTueWedThuFriSatSunMonTueWedThuFriSatSun"
	days, ranges := "", []string{}
	for _, word := range strings.Split(value, ",") {
		low, high, isRange := strings.Cut(word, "-")
		switch {
		case strings.Contains(word, ":"):
			ranges = append(ranges, word)
		case isRange:
			from := names[strings.Index(names, low):]
			days += from[:strings.Index(from, high)+3]
		default:
			days += word
		}
	}
	if days == "" {
		days = names
	}
	if len(ranges) == 0 {
		ranges = []string{"00:00-24:00"}
	}
	for _, day := range []time.Time{now.AddDate(0, 0, -1), now} {
		for _, r := range ranges {
			var h1, m1, h2, m2 int
			if _, err := fmt.Sscanf(r, "%d:%d-%d:%d", &h1, &m1, &h2, &m2); err != nil {
				panic(err)
			}
			begin := time.Date(day.Year(), day.Month(), day.Day(), h1, m1, 0, 0, time.UTC)
			end := time.Date(day.Year(), day.Month(), day.Day(), h2, m2, 0, 0, time.UTC)
			if end.Before(begin) {
				end = end.AddDate(0, 0, 1)
			}
			if strings.Contains(days, day.Format("Mon")) && !now.Before(begin) && now.Before(end) {
				return true
			}
		}
	}
	return false
}

var (
	oracleName   = regexp.MustCompile(`(?i)^([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?$`)
	oracleNumber = regexp.MustCompile(`(?i)(^|\.)([0-9]+|0x[0-9a-f]*)\.?$`)
)

func (o oracle) decide() answer {
	if o.r.Action == Listen || o.r.Action == ListenFTP {
		return o.decideListen()
	}
	allowed, ftp, rule := o.decideOpen()
	return answer{allowed: allowed, ftp: ftp, rule: rule}
}

// upstream is how a server is spoken to that may be opened as FTP, with the line that says so, and the opaque ports.
func (o oracle) upstream(ftp string) (tls, opaque string) {
	name, ip := o.r.Target.Host, net.ParseIP(strings.TrimSuffix(o.r.Target.Host, "."))
	if ip != nil {
		name = ""
	} else {
		ip = net.IP(o.r.Target.Addr.AsSlice())
	}
	hits := func(list []string) string {
		for _, word := range list {
			if hit, _ := oracleHit(word, name, ip, o.r.Target.Port, false); hit {
				return word
			}
		}
		return ""
	}
	permitAt := o.first(func(sc sketchScope) bool { return sc.hasPermit })
	if strings.HasPrefix(hits(o.scopes[permitAt].permit), "ftps/") {
		return fmt.Sprintf("implicit permit:%d", permitAt), ""
	}
	if strings.HasPrefix(hits(strings.Fields(o.key)), "ftps/") {
		return "implicit key", ""
	}
	tls = "off"
	for _, i := range o.applicable() {
		for j, line := range o.scopes[i].tls {
			value, targets, targeted := strings.Cut(line, " ")
			if tls == "off" && (!targeted || hits(strings.Fields(targets)) != "") {
				tls = fmt.Sprintf("%s tls:%d.%d", value, i, j)
			}
		}
	}
	if i := o.first(func(sc sketchScope) bool { return sc.opaque != "" }); i >= 0 && strings.HasPrefix(tls, "off") && ftp == "ftp" {
		opaque = strings.ReplaceAll(o.scopes[i].opaque, "1-65535", "*")
	}
	return tls, opaque
}

// forwarding is the rule that refuses the whole direction, if one does.
func (o oracle) forwarding(direction string) (rule string, refused bool) {
	if i := o.first(func(sc sketchScope) bool { return sc.disable != "" }); i >= 0 && o.scopes[i].disable == "yes" {
		return fmt.Sprintf("disable:%d", i), true
	}
	i := o.first(func(sc sketchScope) bool { return sc.forwarding != "" })
	switch {
	case i < 0:
		return "", true
	case o.scopes[i].forwarding != "yes" && o.scopes[i].forwarding != direction:
		return fmt.Sprintf("forwarding:%d", i), true
	case o.keyNo:
		return "key", true
	}
	return "", false
}

func (o oracle) decideOpen() (allowed bool, ftp, rule string) {
	host, port := o.r.Target.Host, o.r.Target.Port
	literal := net.ParseIP(strings.TrimSuffix(host, "."))
	ip := net.IP(o.r.Target.Addr.AsSlice())
	switch {
	case literal == nil && (!oracleName.MatchString(host) || oracleNumber.MatchString(host)),
		port == 0, o.r.Target.Addr.Zone() != "",
		o.r.Action == OpenData && (ip == nil || port < 1024),
		o.r.Action == Open && ip != nil && literal != nil && !literal.Equal(ip):
		return false, "", ""
	}
	if ip == nil {
		ip = literal
	}
	if ip != nil && ip.IsUnspecified() {
		return false, "", ""
	}
	name := ""
	if literal == nil {
		name = host
	}
	permitAt := o.first(func(sc sketchScope) bool { return sc.hasPermit })
	portsAt := o.first(func(sc sketchScope) bool { return sc.dataPorts != "" })
	if rule, refused := o.forwarding("local"); refused {
		return false, "", rule
	}
	for _, i := range o.applicable() {
		for j, word := range o.scopes[i].deny {
			hits, _ := oracleHit(word, name, ip, port, false)
			if text := ip.String(); strings.HasPrefix(text, "64:ff9b::") || strings.HasPrefix(text, "64:ff9b:1:") {
				inner, _ := oracleHit(word, "", ip[12:], port, false)
				hits = hits || inner
			}
			if hits {
				return false, "", fmt.Sprintf("deny:%d.%d", i, j)
			}
		}
	}
	if permitAt < 0 {
		return false, "", ""
	}
	rule = fmt.Sprintf("permit:%d", permitAt)
	permit, key := o.scopes[permitAt].permit, strings.Fields(o.key)
	if o.r.Action == OpenData {
		switch {
		case !oracleFTP(permit):
			return false, "", rule
		case len(key) > 0 && !oracleFTP(key):
			return false, "", "key"
		case oracleControl(permit, name, ip, port):
			return false, "", rule
		case oracleControl(key, name, ip, port):
			return false, "", "key"
		case portsAt >= 0 && !oraclePort(o.scopes[portsAt].dataPorts, port):
			return false, "", fmt.Sprintf("ports:%d", portsAt)
		}
		return true, "", rule
	}
	hits, asFTP := oracleFirst(permit, name, ip, port)
	if !hits {
		return false, "", rule
	}
	if len(key) > 0 {
		keyHits, keyFTP := oracleFirst(key, name, ip, port)
		if !keyHits {
			return false, "", "key"
		}
		if keyFTP != asFTP {
			return true, map[bool]string{true: "control"}[ip != nil], rule
		}
	}
	return true, map[bool]string{true: "ftp"}[asFTP && ip != nil], rule
}

func oracleFTP(words []string) bool {
	text := " " + strings.Join(words, " ")
	return strings.Contains(text, " ftp/") || strings.Contains(text, " ftps/")
}

// oracleControl reports whether a word names this port alone, and as FTP.
func oracleControl(list []string, name string, ip net.IP, port uint16) bool {
	for _, word := range list {
		hits, ftp := oracleHit(word, name, ip, port, false)
		ports := strings.Split(word[strings.LastIndex(word, ":")+1:], ",")
		if hits && ftp && (slices.Contains(ports, fmt.Sprint(port)) || slices.Contains(ports, fmt.Sprintf("%d-%[1]d", port))) {
			return true
		}
	}
	return false
}

func oracleFirst(list []string, name string, ip net.IP, port uint16) (hits, ftp bool) {
	for _, word := range list {
		if hits, ftp = oracleHit(word, name, ip, port, true); hits {
			return true, ftp
		}
	}
	return false, false
}

// oracleHit takes a network for a hit on a name without an address if perhaps is set.
func oracleHit(word, name string, ip net.IP, port uint16, perhaps bool) (hits, ftp bool) {
	rest := strings.TrimPrefix(strings.TrimPrefix(word, "ftp/"), "ftps/")
	ftp = rest != word
	colon := strings.LastIndex(rest, ":")
	host, ports := strings.Trim(rest[:colon], "[]"), rest[colon+1:]
	if !oraclePort(ports, port) {
		return false, false
	}
	if host == "*" {
		return true, ftp
	}
	if single := net.ParseIP(host); single != nil {
		return ip != nil && single.Equal(ip) || ip == nil && perhaps, ftp
	}
	if _, network, err := net.ParseCIDR(host); err == nil {
		return ip != nil && network.Contains(ip) || ip == nil && perhaps, ftp
	}
	return name != "" && oracleGlob(strings.ToLower(strings.TrimSuffix(host, "."))).MatchString(strings.ToLower(strings.TrimSuffix(name, "."))), ftp
}

func oraclePort(ports string, port uint16) bool {
	for _, element := range strings.Split(strings.ReplaceAll(ports, "*", "1-65535"), ",") {
		low, high, isRange := strings.Cut(element, "-")
		if !isRange {
			high = low
		}
		first, _ := strconv.Atoi(low)
		last, _ := strconv.Atoi(high)
		if first <= int(port) && int(port) <= last {
			return true
		}
	}
	return false
}

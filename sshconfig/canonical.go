package sshconfig

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// completes reports whether CanonicalizeHostname wants names completed.
func (p *pass) completes() bool {
	switch strings.ToLower(p.first["canonicalizehostname"]) {
	case "yes", "true", "always":
		return true
	}
	return false
}

// direct reports whether the name is for this machine to look up.
func (p *pass) direct() bool {
	command, jump := p.first["proxycommand"], p.first["proxyjump"]
	return (command == "" || strings.EqualFold(command, "none")) && (jump == "" || strings.EqualFold(jump, "none"))
}

// complete returns the full name of host, by CanonicalDomains and CanonicalizePermittedCNAMEs.
func (p *pass) complete(host string) (string, error) {
	if _, err := netip.ParseAddr(host); err == nil {
		return host, nil
	}
	if !p.direct() && !strings.EqualFold(p.first["canonicalizehostname"], "always") {
		return host, nil
	}
	dots, err := p.maxDots()
	if err != nil {
		return "", err
	}
	full, name, err := p.findDomain(host, dots)
	switch {
	case err != nil:
		return "", err
	case full != "":
		return p.follow(full, name)
	case strings.Count(host, ".") <= dots && strings.EqualFold(p.first["canonicalizefallbacklocal"], "no"):
		return "", fmt.Errorf("CanonicalizeFallbackLocal: no such host is in CanonicalDomains: %q", host)
	}
	name, err = p.lookup(host)
	if err != nil || name == "" {
		return host, err
	}
	return p.follow(host, name)
}

func (p *pass) maxDots() (int, error) {
	value, ok := p.first["canonicalizemaxdots"]
	if !ok {
		return 1, nil
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		return 0, fmt.Errorf("CanonicalizeMaxDots: %q is not a number", value)
	}
	return n, nil
}

// findDomain returns the first of the domains' names of host that exists, and what that is an alias of.
func (p *pass) findDomain(host string, dots int) (full, name string, err error) {
	if anchored, ok := strings.CutSuffix(host, "."); ok {
		name, err := p.lookup(host)
		return anchored, name, err
	}
	if strings.Count(host, ".") > dots {
		return "", "", nil
	}
	domains, err := Words(p.first["canonicaldomains"])
	if err != nil {
		return "", "", fmt.Errorf("CanonicalDomains: %w", err)
	}
	for _, domain := range domains {
		if strings.EqualFold(domain, "none") {
			break
		}
		full := host + "." + strings.TrimSuffix(lower(domain), ".")
		name, err := p.lookup(full + ".")
		if err != nil || name != "" {
			return full, name, err
		}
	}
	return "", "", nil
}

// lookup returns the canonical name of host, or nothing if there is no such host.
func (p *pass) lookup(host string) (string, error) {
	name, err := p.names().LookupCNAME(p.ctx, host)
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("CanonicalizeHostname: look up %q: %w", host, err)
	}
	return strings.TrimSuffix(lower(name), "."), nil
}

// follow returns what host is an alias of, if CanonicalizePermittedCNAMEs permits it.
func (p *pass) follow(host, name string) (string, error) {
	rules, err := Words(p.first["canonicalizepermittedcnames"])
	if err != nil {
		return "", fmt.Errorf("CanonicalizePermittedCNAMEs: %w", err)
	}
	for _, rule := range rules {
		if strings.EqualFold(rule, "none") {
			break
		}
		from, to, ok := strings.Cut(lower(rule), ":")
		if rule == "*" {
			from, to, ok = "*", "*", true
		}
		if !ok {
			return "", fmt.Errorf("CanonicalizePermittedCNAMEs: %q isn't a list of names, a colon, and a list of what they may stand for", rule)
		}
		if name != "" && name != host && MatchList(from, host) && MatchList(to, name) {
			return name, nil
		}
	}
	return host, nil
}

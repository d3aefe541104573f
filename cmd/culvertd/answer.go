package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/culvert-ssh/culvert/policy"
)

// text writes a as people read it: what was looked at in columns, and the result.
func (a *answer) text(w io.Writer) error {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	rows := func(steps []policy.Step) {
		for _, s := range steps {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", s.Kind, shownSource(s.Source), s.Rule, s.Result())
		}
	}
	rows(a.admit.Steps)
	for _, p := range a.parts {
		if len(a.parts) > 1 {
			table.Flush()
			fmt.Fprintf(&b, "\n%s is %s:\n", a.host, p.address)
		}
		rows(untold(p.Steps, a.admit.Steps))
		if len(a.parts) > 1 {
			table.Flush()
			fmt.Fprintln(&b, p.result())
		}
	}
	table.Flush()
	switch {
	case len(a.parts) == 0:
		fmt.Fprintln(&b, denial(a.admit.Decision))
	case len(a.parts) == 1:
		fmt.Fprintln(&b, a.parts[0].result())
	case a.allowed():
		fmt.Fprintln(&b, "\nallow, at the first of the permitted addresses that answers")
	default:
		fmt.Fprintln(&b, "\ndeny, at every address")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// untold are the steps that were not told before: the Match lines are the same for every question about somebody.
func untold(steps, before []policy.Step) []policy.Step {
	return slices.DeleteFunc(slices.Clone(steps), func(s policy.Step) bool {
		return s.Kind == policy.KindMatch && slices.Contains(before, s)
	})
}

// shownSource is file:line, or what stands for it.
func shownSource(source string) string {
	if source == "" {
		return "default"
	}
	return source
}

func denial(d policy.Decision) string {
	text := "deny: " + d.Reason
	if d.Rule != "" {
		text += " (" + d.Rule + ")"
	}
	return text
}

// result is the last line about an address.
func (p part) result() string {
	d := p.Decision
	switch {
	case !d.Allowed():
		return denial(d)
	case len(d.Bind) > 0:
		words := make([]string, len(d.Bind))
		for i, addr := range d.Bind {
			words[i] = netip.AddrPortFrom(addr, p.port).String()
		}
		text := "allow, and it listens on " + strings.Join(words, " and ")
		if f := d.FTP; f != nil {
			text += ", for FTP, with ports for its data " + dataPorts(f) + remotely(f)
		}
		return text
	case p.unread:
		return "allow, as the connection isn't read as FTP"
	case d.FTP == nil:
		return "allow"
	case !d.FTP.Data:
		return "allow, read as FTP, without data connections"
	}
	return "allow, and its announced data ports " + dataPorts(d.FTP) + besides(d.FTP)
}

// remotely is what else there is to say of FTP servers near the client.
func remotely(f *policy.FTP) (text string) {
	if f.Access != policy.ReadWrite {
		text += ", " + f.Access.String()
	}
	if f.Active != policy.ActiveNo {
		text += ", active mode as well"
	}
	return text
}

// besides is what else there is to say of FTP.
func besides(f *policy.FTP) (text string) {
	if f.Access != policy.ReadWrite {
		text += ", " + f.Access.String()
	}
	if f.Active == policy.ActiveForward {
		text += ", active mode as well"
	}
	switch f.TLS {
	case policy.TLSPrefer:
		text += ", by TLS if the server takes it"
	case policy.TLSRequire:
		text += ", by TLS"
	case policy.TLSImplicit:
		text += ", by implicit TLS"
	}
	if len(f.OpaquePorts) > 0 {
		text += ", and after AUTH unread the ports " + policy.PortsText(f.OpaquePorts)
	}
	return text
}

func dataPorts(f *policy.FTP) string {
	if len(f.DataPorts) == 0 {
		return "from 1024"
	}
	return policy.PortsText(f.DataPorts)
}

// What --json prints. The names are stable.
type (
	jsonAnswer struct {
		Allowed bool        `json:"allowed"`
		User    string      `json:"user"`
		Groups  []string    `json:"groups"`
		Key     string      `json:"key,omitempty"`
		Admit   jsonVerdict `json:"admit"`
		Answers []jsonPart  `json:"answers"`
	}
	jsonVerdict struct {
		Allowed bool          `json:"allowed"`
		Rule    string        `json:"rule,omitempty"`
		Reason  string        `json:"reason"`
		Steps   []policy.Step `json:"steps"`
	}
	jsonPart struct {
		Address string `json:"address,omitempty"`
		jsonVerdict
		FTP  *jsonFTP     `json:"ftp,omitempty"`
		Bind []netip.Addr `json:"bind,omitempty"`
	}
	jsonFTP struct {
		Data          bool           `json:"data"`
		DataPorts     string         `json:"data_ports"`
		DataAddresses []netip.Prefix `json:"data_addresses"`
		Access        string         `json:"access"`
		Active        string         `json:"active"`
		TLS           string         `json:"tls"`
		TLSRule       string         `json:"tls_rule,omitempty"`
		OpaquePorts   string         `json:"opaque_ports,omitempty"`
	}
)

func verdict(e policy.Explanation) jsonVerdict {
	return jsonVerdict{e.Decision.Allowed(), e.Decision.Rule, e.Decision.Reason, append([]policy.Step{}, e.Steps...)}
}

// json writes a as programs read it.
func (a *answer) json(w io.Writer) error {
	j := jsonAnswer{
		Allowed: a.allowed(), User: a.subject.User, Groups: append([]string{}, a.subject.Groups...), Key: a.subject.Key,
		Admit: verdict(a.admit), Answers: []jsonPart{},
	}
	for _, p := range a.parts {
		one := jsonPart{jsonVerdict: verdict(p.Explanation), Bind: p.Decision.Bind}
		if p.address.IsValid() {
			one.Address = p.address.String()
		}
		if f := p.Decision.FTP; f != nil {
			one.FTP = &jsonFTP{
				f.Data, dataPorts(f), append([]netip.Prefix{}, f.DataAddresses...), f.Access.String(), f.Active.String(),
				f.TLS.String(), f.TLSRule, policy.PortsText(f.OpaquePorts),
			}
		}
		j.Answers = append(j.Answers, one)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(j)
}

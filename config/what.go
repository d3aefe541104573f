package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/sshconfig"
)

var whatKeywords = []keyword{
	{
		name:     "AllowTcpForwarding",
		wants:    "yes, no, local or remote",
		standard: []string{"yes"},
		value:    one(func(s *Settings) *policy.Forwarding { return &s.AllowTCPForwarding }, among(forwardings...)),
		rule: func(r *policy.Rules, source string, s Settings) {
			firstRule(&r.AllowTCPForwarding, source, s.AllowTCPForwarding)
		},
	}, {
		name:     "DisableForwarding",
		wants:    "yes or no",
		standard: []string{"no"},
		value:    one(func(s *Settings) *bool { return &s.DisableForwarding }, flag),
		rule: func(r *policy.Rules, source string, s Settings) {
			firstRule(&r.DisableForwarding, source, s.DisableForwarding)
		},
	}, {
		name:  permitOpen,
		wants: "words such as host:port, 10.1.0.0/16:22, ftp/host:21 or ftps/host:990, or any or none alone",
		value: openWords(func(s *Settings) *[]policy.OpenPattern { return &s.PermitOpen }, true),
		rule: func(r *policy.Rules, source string, s Settings) {
			firstRule(&r.PermitOpen, source, s.PermitOpen)
		},
	}, {
		name: "DenyOpen", repeats: accumulates,
		wants: "words such as 169.254.0.0/16:* or host:port, or any or none alone",
		value: openWords(func(s *Settings) *[]policy.OpenPattern { return &s.DenyOpen }, false),
		rule: func(r *policy.Rules, source string, s Settings) {
			r.DenyOpen = append(r.DenyOpen, policy.Line[[]policy.OpenPattern]{Source: source, Value: s.DenyOpen})
		},
	}, {
		name:  "PermitListen",
		wants: "words such as 8080, localhost:8080 or ftp/2121, or any or none alone",
		value: value{parsePermitListen, showPermitListen},
		rule: func(r *policy.Rules, source string, s Settings) {
			firstRule(&r.PermitListen, source, s.PermitListen)
		},
	}, {
		name:     "GatewayPorts",
		wants:    "no, yes or clientspecified",
		standard: []string{"no"},
		value:    one(func(s *Settings) *policy.GatewayPorts { return &s.GatewayPorts }, among(gatewayPorts...)),
		rule: func(r *policy.Rules, source string, s Settings) {
			firstRule(&r.GatewayPorts, source, s.GatewayPorts)
		},
	}, {
		name:     "PermitTTY",
		wants:    "yes or no",
		standard: []string{"yes"},
		value:    one(func(s *Settings) *bool { return &s.PermitTTY }, flag),
	}, {
		name: "ForceCommand", wholeLine: true,
		wants:    "internal-sftp, or none",
		standard: []string{"none"},
		value:    one(func(s *Settings) *string { return &s.ForceCommand }, or("none", forced)),
		remarks:  remarkSFTPOptions,
	}, {
		name:     "ChrootDirectory",
		wants:    "an absolute path, or none",
		standard: []string{"none"},
		value:    one(func(s *Settings) *string { return &s.ChrootDirectory }, or("none", chroot)),
	}, {
		name: "Subsystem", repeats: accumulates,
		wants:   "a name, and internal-sftp",
		value:   value{parseSubsystem, showSubsystems},
		remarks: remarkSFTPOptions,
	}, {
		name: "AcceptEnv", repeats: accumulatesInMatch,
		wants: "names of variables, in which * and ? may stand",
		value: every(func(s *Settings) *[]string { return &s.AcceptEnv }, variable),
	},
}

const permitOpen = "PermitOpen"

var forwardings = []choice[policy.Forwarding]{
	{"yes", policy.ForwardAll},
	{"all", policy.ForwardAll},
	{"no", policy.ForwardNone},
	{"local", policy.ForwardLocal},
	{"remote", policy.ForwardRemote},
}

var gatewayPorts = []choice[policy.GatewayPorts]{
	{"no", policy.GatewayNo},
	{"yes", policy.GatewayYes},
	{"clientspecified", policy.GatewayClientSpecified},
}

// openWords is the value of PermitOpen and DenyOpen.
func openWords(field func(*Settings) *[]policy.OpenPattern, ftp bool) value {
	parse := func(words []string) (setter, error) {
		patterns, err := parseOpenWords(words, ftp)
		return func(s *Settings) { *field(s) = append(*field(s), patterns...) }, err
	}
	show := func(s *Settings) [][]string {
		words := wordsOf(*field(s), form[policy.OpenPattern]{show: policy.OpenPattern.String})
		switch {
		case len(words) == 0:
			words = []string{"none"}
		case len(words) == 1 && words[0] == policy.AnyOpen().String():
			words = []string{"any"}
		}
		return [][]string{words}
	}
	return value{parse, show}
}

func parseOpenWords(words []string, ftp bool) ([]policy.OpenPattern, error) {
	patterns := []policy.OpenPattern{}
	for _, word := range words {
		if word == "any" || word == "none" {
			if len(words) > 1 {
				return nil, fmt.Errorf("%q stands alone", word)
			}
			if word == "any" {
				patterns = append(patterns, policy.AnyOpen())
			}
			break
		}
		p, err := policy.ParseOpenPattern(word)
		if err != nil {
			return nil, err
		}
		if p.FTP() && !ftp {
			return nil, fmt.Errorf("%q: the prefix means nothing here: write the host and port alone", word)
		}
		patterns = append(patterns, p)
	}
	return patterns, nil
}

func parsePermitListen(words []string) (setter, error) {
	patterns := []policy.ListenPattern{}
	for _, word := range words {
		if word == "any" || word == "none" {
			if len(words) > 1 {
				return nil, fmt.Errorf("%q stands alone", word)
			}
			if word == "any" {
				patterns = append(patterns, policy.AnyListen())
			}
			break
		}
		p, err := policy.ParseListenPattern(word)
		if err != nil {
			return nil, err
		}
		patterns = append(patterns, p)
	}
	return func(s *Settings) { s.PermitListen = patterns }, nil
}

func showPermitListen(s *Settings) [][]string {
	words := wordsOf(s.PermitListen, form[policy.ListenPattern]{show: policy.ListenPattern.String})
	switch {
	case len(words) == 0:
		words = []string{"none"}
	case len(words) == 1 && s.PermitListen[0] == policy.AnyListen():
		words = []string{"any"}
	}
	return [][]string{words}
}

// sftp is the one command that is served, by culvertd itself.
const sftp = "internal-sftp"

// forced is the value of ForceCommand.
var forced = form[string]{
	parse: func(line string) (string, error) {
		words, err := sshconfig.Words(line)
		switch {
		case err != nil:
			return "", err
		case len(words) == 0 || words[0] != sftp:
			return "", fmt.Errorf("%q: no programs are run here: write %s, or none and say in AllowTcpForwarding and PermitOpen what may be opened", line, sftp)
		}
		return sftpCommand(words[1:])
	},
	show: func(line string) string { return line },
}

func parseSubsystem(words []string) (setter, error) {
	if len(words) < 2 {
		return nil, fmt.Errorf("%q has no command: it wants %s", words[0], sftp)
	}
	sub := Subsystem{Name: words[0], Command: words[1]}
	switch {
	case sub.Name == "":
		return nil, errors.New("the name is empty")
	case sub.Command != sftp:
		return nil, fmt.Errorf("%q: no programs are run here: write %s %s", sub.Command, sub.Name, sftp)
	}
	var err error
	if sub.Command, err = sftpCommand(words[2:]); err != nil {
		return nil, err
	}
	return func(s *Settings) {
		if !slices.ContainsFunc(s.Subsystems, func(have Subsystem) bool { return have.Name == sub.Name }) {
			s.Subsystems = append(s.Subsystems, sub)
		}
	}, nil
}

// sftpCommand keeps the options that narrow what may be done: -R is read-only, and -d is where to begin. What only says how
// sftp-server(8) logs has no effect, and everything else would be missed.
func sftpCommand(options []string) (string, error) {
	command := sftp
	for i := 0; i < len(options); i++ {
		switch option := options[i]; {
		case option == "-R":
			command += " -R"
		case option == "-e":
		case (option == "-f" || option == "-l") && i+1 < len(options):
			i++
		case option == "-d" && i+1 < len(options) && !strings.ContainsAny(options[i+1], " \t\""):
			i++
			command += " -d " + options[i]
		default:
			return "", fmt.Errorf("%s doesn't take %q here", sftp, option)
		}
	}
	return command, nil
}

func remarkSFTPOptions(words []string) []string {
	if i := slices.Index(words, sftp); i >= 0 && i+1 < len(words) {
		return []string{"how sftp logs can't be chosen: the audit log has every transfer"}
	}
	return nil
}

func showSubsystems(s *Settings) [][]string {
	var lines [][]string
	for _, sub := range s.Subsystems {
		lines = append(lines, append([]string{sub.Name}, strings.Fields(sub.Command)...))
	}
	return lines
}

// chroot is the directory that a user's files are in, with tokens in it.
var chroot = form[string]{
	parse: func(word string) (string, error) {
		if err := checkTokens(word, "Uhu"); err != nil {
			return "", err
		}
		if !filepath.IsAbs(word) && !strings.HasPrefix(word, "%h") {
			return "", fmt.Errorf("%q is not an absolute path", word)
		}
		return word, nil
	},
	show: func(path string) string { return path },
}

// variable is the name of a variable of the environment, or a pattern of names.
var variable = form[string]{
	parse: func(word string) (string, error) {
		if word == "" || strings.ContainsRune(word, '=') {
			return "", fmt.Errorf("%q is not the name of a variable", word)
		}
		return word, nil
	},
	show: func(name string) string { return name },
}

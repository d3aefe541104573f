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

var whoKeywords = []keyword{
	{
		name: "DenyUsers", repeats: accumulatesInMatch,
		wants: wantsUsers,
		value: every(func(s *Settings) *[]policy.UserPattern { return &s.DenyUsers }, userPattern),
		rule: func(r *policy.Rules, source string, s Settings) {
			r.DenyUsers = append(r.DenyUsers, policy.Line[[]policy.UserPattern]{Source: source, Value: s.DenyUsers})
		},
	}, {
		name: "AllowUsers", repeats: accumulatesInMatch,
		wants: wantsUsers,
		value: every(func(s *Settings) *[]policy.UserPattern { return &s.AllowUsers }, userPattern),
		rule: func(r *policy.Rules, source string, s Settings) {
			r.AllowUsers = append(r.AllowUsers, policy.Line[[]policy.UserPattern]{Source: source, Value: s.AllowUsers})
		},
	}, {
		name: "DenyGroups", repeats: accumulatesInMatch,
		wants: wantsGroups,
		value: every(func(s *Settings) *[]policy.GroupPattern { return &s.DenyGroups }, groupPattern),
		rule: func(r *policy.Rules, source string, s Settings) {
			r.DenyGroups = append(r.DenyGroups, policy.Line[[]policy.GroupPattern]{Source: source, Value: s.DenyGroups})
		},
	}, {
		name: "AllowGroups", repeats: accumulatesInMatch,
		wants: wantsGroups,
		value: every(func(s *Settings) *[]policy.GroupPattern { return &s.AllowGroups }, groupPattern),
		rule: func(r *policy.Rules, source string, s Settings) {
			r.AllowGroups = append(r.AllowGroups, policy.Line[[]policy.GroupPattern]{Source: source, Value: s.AllowGroups})
		},
	}, {
		name:     methodsName,
		wants:    "lists of methods such as publickey,password with blanks between, or any",
		standard: []string{"any"},
		value:    list(func(s *Settings) *[][]string { return &s.AuthenticationMethods }, "any", methods),
		remarks:  remarkMethods,
	}, {
		name: "PubkeyAuthentication", aliases: []string{"DSAAuthentication"},
		wants:    "yes or no",
		standard: []string{"yes"},
		value:    one(func(s *Settings) *bool { return &s.PubkeyAuthentication }, flag),
	}, {
		name:     "PasswordAuthentication",
		wants:    "yes or no",
		standard: []string{"no"},
		value:    one(func(s *Settings) *bool { return &s.PasswordAuthentication }, flag),
	}, {
		name: "KbdInteractiveAuthentication", aliases: []string{"ChallengeResponseAuthentication", "SkeyAuthentication"},
		wants:    "yes or no",
		standard: []string{"no"},
		value:    one(func(s *Settings) *bool { return &s.KbdInteractiveAuthentication }, flag),
	}, {
		name: "PasswordFile", where: outsideMatch,
		wants: "the path of the file that culvertd passwd writes",
		value: one(func(s *Settings) *string { return &s.PasswordFile }, file).unlessEmpty(func(s *Settings) string { return s.PasswordFile }),
	}, {
		name:     "PermitRootLogin",
		wants:    "yes, prohibit-password, forced-commands-only or no",
		standard: []string{"prohibit-password"},
		value:    one(func(s *Settings) *RootLogin { return &s.PermitRootLogin }, among(rootLogins...)),
	}, {
		name:     "AuthorizedKeysFile",
		wants:    "absolute paths with %u for the user name, or none",
		standard: []string{"/etc/culvert/authorized_keys/%u"},
		value:    list(func(s *Settings) *[]string { return &s.AuthorizedKeysFile }, "none", userFile),
	}, {
		name: "AuthorizedKeysCommand", wholeLine: true,
		wants:    "an absolute path with arguments, or none",
		standard: []string{"none"},
		value:    one(func(s *Settings) *string { return &s.AuthorizedKeysCommand }, or("none", command("CDUfhktu"))),
	}, {
		name:     "AuthorizedKeysCommandUser",
		wants:    "the name of an account of the operating system, or none",
		standard: []string{"none"},
		value:    one(func(s *Settings) *string { return &s.AuthorizedKeysCommandUser }, or("none", account)),
	}, {
		name:     "TrustedUserCAKeys",
		wants:    "a path, or none",
		standard: []string{"none"},
		value:    one(func(s *Settings) *string { return &s.TrustedUserCAKeys }, or("none", file)),
	}, {
		name:     "AuthorizedPrincipalsFile",
		wants:    "an absolute path with %u for the user name, or none",
		standard: []string{"none"},
		value:    one(func(s *Settings) *string { return &s.AuthorizedPrincipalsFile }, or("none", userFile)),
	}, {
		name: "AuthorizedPrincipalsCommand", wholeLine: true,
		wants:    "an absolute path with arguments, or none",
		standard: []string{"none"},
		value:    one(func(s *Settings) *string { return &s.AuthorizedPrincipalsCommand }, or("none", command("CDFKTUfhikstu"))),
	}, {
		name:     "AuthorizedPrincipalsCommandUser",
		wants:    "the name of an account of the operating system, or none",
		standard: []string{"none"},
		value:    one(func(s *Settings) *string { return &s.AuthorizedPrincipalsCommandUser }, or("none", account)),
	}, {
		name:     "RevokedKeys",
		wants:    "a path, or none",
		standard: []string{"none"},
		value:    one(func(s *Settings) *string { return &s.RevokedKeys }, or("none", file)),
	}, {
		name:     "PubkeyAuthOptions",
		wants:    "touch-required, verify-required or both, or none",
		standard: []string{"none"},
		value:    value{parsePubkeyAuthOptions, showPubkeyAuthOptions},
	},
}

const (
	methodsName = "AuthenticationMethods"

	wantsUsers  = "names of users, or patterns of them, perhaps with @ and where they come from"
	wantsGroups = "names of groups, or patterns of them"
)

var (
	userPattern  = form[policy.UserPattern]{policy.ParseUserPattern, policy.UserPattern.String}
	groupPattern = form[policy.GroupPattern]{policy.ParseGroupPattern, policy.GroupPattern.String}
)

var rootLogins = []choice[RootLogin]{
	{"prohibit-password", RootKeys},
	{"without-password", RootKeys},
	{"forced-commands-only", RootForcedCommands},
	{"yes", RootYes},
	{"no", RootNo},
}

// unlessEmpty shows nothing of a text that is empty.
func (v value) unlessEmpty(field func(*Settings) string) value {
	show := v.show
	v.show = func(s *Settings) [][]string {
		if field(s) == "" {
			return nil
		}
		return show(s)
	}
	return v
}

// methods is a list of methods of authentication, each of which must succeed (sshd_config(5), AuthenticationMethods).
var methods = form[[]string]{
	parse: func(word string) ([]string, error) {
		names := strings.Split(word, ",")
		for i, name := range names {
			method, device, _ := strings.Cut(name, ":")
			switch {
			case slices.Contains([]string{"hostbased", "gssapi-with-mic", "gssapi-keyex", "none"}, method):
				return nil, fmt.Errorf("the method %q is not served here", method)
			case !slices.Contains([]string{"publickey", "password", "keyboard-interactive"}, method):
				return nil, fmt.Errorf("unknown method %q", method)
			case !strings.Contains(name, ":"):
				continue
			case method != "keyboard-interactive" || !slices.Contains(devices, device):
				return nil, fmt.Errorf("unknown method %q", name)
			case slices.Contains(foreignDevices, device):
				names[i] = method
			}
		}
		return names, nil
	},
	show: func(names []string) string { return strings.Join(names, ",") },
}

// devices are those of keyboard-interactive: ours, and sshd's.
var (
	devices        = []string{"totp", "password", "pam", "bsdauth"}
	foreignDevices = []string{"pam", "bsdauth"}
)

func remarkMethods(words []string) []string {
	foreign := func(device string) bool { return strings.Contains(strings.Join(words, ","), ":"+device) }
	if slices.ContainsFunc(foreignDevices, foreign) {
		return []string{"keyboard-interactive asks for what PasswordFile has, neither PAM nor BSD authentication"}
	}
	return nil
}

// userFile is the path of a file that is another one for each user, with tokens in it.
var userFile = form[string]{parseUserFile, func(path string) string { return path }}

func parseUserFile(word string) (string, error) {
	if err := checkTokens(word, "Uhu"); err != nil {
		return "", err
	}
	switch {
	case word == "":
		return "", errors.New("the path is empty")
	case word[0] == '~':
		return "", fmt.Errorf("%q: write %%h for the home directory of the user", word)
	case strings.EqualFold(word, "none"):
		return "", fmt.Errorf("%q stands alone", word)
	case filepath.IsAbs(word), strings.HasPrefix(word, "%h"):
		return word, nil
	}
	return "%h/" + word, nil // as sshd takes it
}

// checkTokens reports a token that isn't one of those given, or a % sign.
func checkTokens(text, tokens string) error {
	for rest := text; ; {
		_, after, found := strings.Cut(rest, "%")
		switch {
		case !found:
			return nil
		case after == "" || after[0] != '%' && strings.IndexByte(tokens, after[0]) < 0:
			return fmt.Errorf("%q: after %% stands one of %s, or another %%", text, strings.Join(strings.Split(tokens, ""), ", "))
		}
		rest = after[1:]
	}
}

// command is a command line that is run without a shell; quotes keep blanks.
func command(tokens string) form[string] {
	return form[string]{
		parse: func(line string) (string, error) {
			words, err := sshconfig.CommandWords(line)
			switch {
			case err != nil:
				return "", err
			case !filepath.IsAbs(line) || len(words) == 0:
				return "", fmt.Errorf("%q is not an absolute path", line)
			}
			return line, checkTokens(line, tokens)
		},
		show: func(line string) string { return line },
	}
}

// account is the name of an account of the operating system.
var account = form[string]{
	parse: func(word string) (string, error) {
		if word == "" {
			return "", errors.New("the name is empty")
		}
		return word, nil
	},
	show: func(name string) string { return name },
}

func parsePubkeyAuthOptions(words []string) (setter, error) {
	var touch, verify bool
	for _, word := range words {
		switch strings.ToLower(word) {
		case "none":
		case "touch-required":
			touch = true
		case "verify-required":
			verify = true
		default:
			return nil, unknownValue(word)
		}
	}
	return func(s *Settings) { s.TouchRequired, s.VerifyRequired = touch, verify }, nil
}

func showPubkeyAuthOptions(s *Settings) [][]string {
	var words []string
	if s.TouchRequired {
		words = append(words, "touch-required")
	}
	if s.VerifyRequired {
		words = append(words, "verify-required")
	}
	if words == nil {
		words = []string{"none"}
	}
	return [][]string{words}
}

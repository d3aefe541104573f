package config

import (
	"slices"
	"strings"
)

// Offers reports whether a login may begin with a method (publickey, password or keyboard-interactive) for anybody: whether it is switched on, and
// AuthenticationMethods has it in front. Each may be for somebody else, so that more may be offered than serves.
func (c *Config) Offers(method string) bool {
	on, first := false, false
	for _, sc := range append([]*scope{{}}, c.blocks...) {
		s := c.settings([]*scope{sc})
		switch method {
		case "publickey":
			on = on || s.PubkeyAuthentication
		case "password":
			on = on || s.PasswordAuthentication
		case "keyboard-interactive":
			on = on || s.KbdInteractiveAuthentication
		}
		first = first || len(s.AuthenticationMethods) == 0 || slices.ContainsFunc(s.AuthenticationMethods, func(list []string) bool {
			name, _, _ := strings.Cut(list[0], ":")
			return name == method
		})
	}
	return on && first
}

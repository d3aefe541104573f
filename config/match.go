package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/culvert-ssh/culvert/policy"
)

var criteria = []struct {
	name  string
	parse func(string) (policy.Criterion, error) // nil: sshd has it, and culvertd doesn't serve it
}{
	{"user", policy.MatchUser},
	{"group", policy.MatchGroup},
	{"host", policy.MatchHost},
	{"address", policy.MatchAddress},
	{"localaddress", policy.MatchLocalAddress},
	{"localport", policy.MatchLocalPort},
	{"time", policy.MatchTime},
	{"rdomain", nil},
	{"version", nil},
	{"sessiontype", nil},
	{"command", nil},
}

// condition is a criterion and its value, as written.
type condition struct{ name, value string }

func (c condition) String() string { return strings.TrimSpace(c.name + " " + c.value) }

// parseMatch reads what stands after Match: invalid-user and pairs of a criterion and a value, also criterion=value, or all
// alone.
func parseMatch(words []string) (policy.Criteria, []condition, error) {
	if len(words) == 0 {
		return nil, nil, errors.New("it has no criteria: it wants user, group, host, address, localaddress, localport or time with a value, invalid-user, or all")
	}
	if len(words) == 1 && strings.EqualFold(words[0], "all") {
		return policy.Criteria{policy.MatchAll()}, nil, nil
	}
	var (
		found policy.Criteria
		said  []condition
	)
	for len(words) > 0 {
		name, value, joined := strings.Cut(words[0], "=")
		words = words[1:]
		switch {
		case strings.EqualFold(name, "all"):
			return nil, nil, errors.New("all stands alone")
		case strings.EqualFold(name, invalidUser) && !joined:
			found, said = append(found, policy.MatchInvalidUser()), append(said, condition{name: invalidUser})
			continue
		}
		parse, err := findCriterion(name)
		if err != nil {
			return nil, nil, err
		}
		if !joined && len(words) > 0 {
			value, words = words[0], words[1:]
		}
		if value == "" {
			return nil, nil, fmt.Errorf("criterion %s has no value", name)
		}
		criterion, err := parse(value)
		if err != nil {
			return nil, nil, fmt.Errorf("criterion %s: %w", name, err)
		}
		found, said = append(found, criterion), append(said, condition{strings.ToLower(name), value})
	}
	return found, said, nil
}

const invalidUser = "invalid-user"

func findCriterion(name string) (func(string) (policy.Criterion, error), error) {
	for _, c := range criteria {
		if strings.EqualFold(c.name, name) {
			if c.parse == nil {
				return nil, fmt.Errorf("criterion %s is not served here", c.name)
			}
			return c.parse, nil
		}
	}
	return nil, fmt.Errorf("unknown criterion %q", name)
}

// never says why conditions that must all hold can't, or nothing if they might. What it doesn't see may be impossible all the same.
func never(all []condition) string {
	for i, c := range all {
		if c.onlyExcludes() {
			return fmt.Sprintf("%s only excludes: write *, in front", c)
		}
		for _, d := range all[:i] {
			if c.excludes(d) || d.excludes(c) {
				return fmt.Sprintf("%s and %s exclude each other", d, c)
			}
		}
	}
	return ""
}

// onlyExcludes reports whether nothing can match the list: what isn't negated is excluded by what is.
func (c condition) onlyExcludes() bool {
	if c.name == "time" || c.name == invalidUser {
		return false
	}
	list := strings.Split(c.value, ",")
	return !slices.ContainsFunc(list, func(element string) bool {
		return element[0] != '!' && !slices.Contains(list, "!"+element)
	})
}

// excludes reports whether c can't hold where d does.
func (c condition) excludes(d condition) bool {
	switch {
	case c.name == invalidUser:
		return d.name == "group" // who isn't known is in none
	case c.name != d.name || c.name == "group" || c.name == "time" || strings.ContainsAny(c.value+d.value, "*?!/"):
		return false
	}
	others := d.literals()
	return !slices.ContainsFunc(c.literals(), func(element string) bool { return slices.Contains(others, element) })
}

// literals are the elements of a list without patterns, in one spelling.
func (c condition) literals() []string {
	var all []string
	for element := range strings.SplitSeq(c.value, ",") {
		switch c.name {
		case "host":
			element = strings.ToLower(element)
		case "localport":
			element = strings.TrimLeft(element, "0")
		case "address", "localaddress":
			if addr, err := netip.ParseAddr(element); err == nil {
				element = addr.Unmap().String()
			}
		}
		all = append(all, element)
	}
	return all
}

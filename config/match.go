package config

import (
	"errors"
	"fmt"
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

// parseMatch reads what stands after Match: invalid-user and pairs of a criterion and a value, also criterion=value, or all
// alone.
func parseMatch(words []string) (_ policy.Criteria, all bool, _ error) {
	if len(words) == 0 {
		return nil, false, errors.New("it has no criteria: it wants user, group, host, address, localaddress, localport or time with a value, invalid-user, or all")
	}
	if len(words) == 1 && strings.EqualFold(words[0], "all") {
		return policy.Criteria{policy.MatchAll()}, true, nil
	}
	var found policy.Criteria
	for len(words) > 0 {
		name, value, joined := strings.Cut(words[0], "=")
		words = words[1:]
		switch {
		case strings.EqualFold(name, "all"):
			return nil, false, errors.New("all stands alone")
		case strings.EqualFold(name, "invalid-user") && !joined:
			found = append(found, policy.MatchInvalidUser())
			continue
		}
		parse, err := findCriterion(name)
		if err != nil {
			return nil, false, err
		}
		if !joined && len(words) > 0 {
			value, words = words[0], words[1:]
		}
		if value == "" {
			return nil, false, fmt.Errorf("criterion %s has no value", name)
		}
		criterion, err := parse(value)
		if err != nil {
			return nil, false, fmt.Errorf("criterion %s: %w", name, err)
		}
		found = append(found, criterion)
	}
	return found, false, nil
}

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

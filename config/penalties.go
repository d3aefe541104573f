package config

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// penaltyWord is a word of PerSourcePenalties.
type penaltyWord struct {
	name string // of two words with the same name, the first counts
	set  func(*PerSourcePenalties)
}

// parsePenalties reads a line of PerSourcePenalties. What several lines say is put together, each word once.
func parsePenalties(words []string) (setter, error) {
	var all []penaltyWord
	for _, word := range words {
		name, text, _ := strings.Cut(word, ":")
		name = strings.ToLower(name)
		if (name == "yes" || name == "no") && len(words) > 1 {
			return nil, fmt.Errorf("%q stands alone", word)
		}
		set, err := parsePenalty(name, text)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", word, err)
		}
		all = append(all, penaltyWord{name, set})
	}
	return func(s *Settings) { s.penalties = append(s.penalties, all...) }, nil
}

func parsePenalty(name, text string) (func(*PerSourcePenalties), error) {
	switch name {
	case "yes", "no":
		return func(*PerSourcePenalties) {}, nil
	case "overflow", "overflow6":
		deny, err := among(choice[bool]{"deny-all", true}, choice[bool]{"permissive", false}).parse(text)
		if err != nil {
			err = fmt.Errorf("%v: it wants deny-all or permissive", err) // and not what the keyword wants
		}
		return func(p *PerSourcePenalties) {
			if name == "overflow6" {
				p.DenyOverflow6 = deny
				return
			}
			p.DenyOverflow4 = deny
		}, err
	}
	if field := (&PerSourcePenalties{}).number(name); field != nil {
		n, err := numberBetween(0, math.MaxInt32).parse(text)
		return func(p *PerSourcePenalties) { *p.number(name) = n }, err
	}
	if field := (&PerSourcePenalties{}).time(name); field != nil {
		d, err := parseTime(text)
		return func(p *PerSourcePenalties) { *p.time(name) = d }, err
	}
	return nil, fmt.Errorf("it wants %s with a time, max-sources4 or max-sources6 with a number, or overflow or overflow6 with deny-all or permissive", strings.Join(penaltyTimes, ", "))
}

// penaltyTimes are the words that have a time, in the order in which sshd shows them.
var penaltyTimes = []string{"crash", "authfail", "noauth", "invaliduser", "grace-exceeded", "refuseconnection", "max", "min"}

func (p *PerSourcePenalties) time(name string) *time.Duration {
	return map[string]*time.Duration{
		"crash": &p.Crash, "authfail": &p.AuthFail, "noauth": &p.NoAuth, "invaliduser": &p.InvalidUser,
		"grace-exceeded": &p.GraceExceeded, "refuseconnection": &p.RefuseConnection, "max": &p.Max, "min": &p.Min,
	}[name]
}

func (p *PerSourcePenalties) number(name string) *int {
	return map[string]*int{"max-sources4": &p.MaxSources4, "max-sources6": &p.MaxSources6}[name]
}

// combinePenalties puts OpenSSH's defaults and the words of all lines together. Any word but no switches them on.
func (s *Settings) combinePenalties() {
	p := PerSourcePenalties{
		Crash: 90 * time.Second, AuthFail: 5 * time.Second, InvalidUser: 5 * time.Second, NoAuth: time.Second,
		GraceExceeded: 10 * time.Second, RefuseConnection: 10 * time.Second,
		Min: 15 * time.Second, Max: 10 * time.Minute,
		MaxSources4: 65536, MaxSources6: 65536,
	}
	said := map[string]bool{}
	for _, w := range s.penalties {
		if !said[w.name] {
			w.set(&p)
		}
		p.Enabled = p.Enabled || w.name != "no"
		said[w.name] = true
	}
	if said["overflow"] && !said["overflow6"] {
		p.DenyOverflow6 = p.DenyOverflow4
	}
	if !p.Enabled {
		p = PerSourcePenalties{}
	}
	s.PerSourcePenalties, s.penalties = p, nil
}

func showPenalties(s *Settings) [][]string {
	p := s.PerSourcePenalties
	if !p.Enabled {
		return [][]string{{"no"}}
	}
	var words []string
	for _, name := range penaltyTimes {
		words = append(words, fmt.Sprintf("%s:%d", name, *p.time(name)/time.Second))
	}
	overflow := map[bool]string{true: "deny-all", false: "permissive"}
	return [][]string{append(words,
		fmt.Sprintf("max-sources4:%d", p.MaxSources4), fmt.Sprintf("max-sources6:%d", p.MaxSources6),
		"overflow:"+overflow[p.DenyOverflow4], "overflow6:"+overflow[p.DenyOverflow6])}
}

package policy

import (
	"slices"
	"time"
)

// Admit answers whether s, who has proven who they are, may come in at all. It looks at DenyUsers, AllowUsers, DenyGroups and
// AllowGroups, in this order, as sshd does; without any of them, everybody may. Whoever is in no group is
// refused where groups are asked about: their absence is more likely a mistake than a fact.
func (p *Policy) Admit(s Subject, now time.Time) Decision { return p.admit(s, now, nil) }

func (p *Policy) admit(s Subject, now time.Time, tr *trail) Decision {
	if p == nil || s.User == "" {
		return Decision{Reason: "nobody is authenticated"}
	}
	r := p.rulesFor(s, now, tr)
	forUser := func(p UserPattern) bool { return p.matches(s) }
	forGroup := func(p GroupPattern) bool { return slices.ContainsFunc(s.Groups, p.matches) }

	d := Decision{Reason: "no line is against it", allowed: true}
	if who, hit := firstWho(r.DenyUsers, forUser, KindDeny, "DenyUsers", tr); hit {
		return who.refused()
	}
	if who, hit := firstWho(r.AllowUsers, forUser, KindPermit, "AllowUsers", tr); hit {
		d = who.admitted()
	} else if len(r.AllowUsers) > 0 {
		return Decision{Rule: r.AllowUsers[0].Source, Reason: "not in AllowUsers"}
	}
	if len(s.Groups) == 0 && len(r.DenyGroups) > 0 {
		tr.line(KindDeny, r.DenyGroups[0].Source, "DenyGroups", "", true)
		return Decision{Rule: r.DenyGroups[0].Source, Reason: "DenyGroups, and the user is in no group"}
	}
	if who, hit := firstWho(r.DenyGroups, forGroup, KindDeny, "DenyGroups", tr); hit {
		return who.refused()
	}
	if who, hit := firstWho(r.AllowGroups, forGroup, KindPermit, "AllowGroups", tr); hit {
		d = who.admitted()
	} else if len(r.AllowGroups) > 0 {
		return Decision{Rule: r.AllowGroups[0].Source, Reason: "not in AllowGroups"}
	}
	return d
}

// whoHit is the line and the word of it that hit.
type whoHit struct{ source, rule string }

func (w whoHit) refused() Decision  { return Decision{Rule: w.source, Reason: w.rule} }
func (w whoHit) admitted() Decision { return Decision{Rule: w.source, Reason: w.rule, allowed: true} }

// firstWho returns the first word of lines that is for the subject.
func firstWho[P interface{ String() string }](lines []Line[[]P], isFor func(P) bool, kind Kind, keyword string, tr *trail) (whoHit, bool) {
	for _, line := range lines {
		i := slices.IndexFunc(line.Value, isFor)
		if i < 0 {
			tr.line(kind, line.Source, keyword, "", false)
			continue
		}
		word := line.Value[i].String()
		tr.line(kind, line.Source, keyword, word, true)
		return whoHit{line.Source, keyword + " " + word}, true
	}
	return whoHit{}, false
}

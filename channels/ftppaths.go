package channels

import (
	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/policy"
)

// ftpOptions are what a client may do, as package ftp has it.
func ftpOptions(rules *policy.FTP) ftp.Options {
	o := ftp.Options{Access: ftp.Access(rules.Access), AccessRule: rules.AccessRule}
	if rules.HasPathRules() {
		o.Paths = func(r ftp.PathRequest) ftp.PathDecision {
			d := rules.DecidePath(policy.PathRequest{Path: r.Path, From: r.From, Enter: r.Enter})
			return ftp.PathDecision{Allowed: d.Allowed(), Rule: d.Rule, Reason: d.Reason}
		}
	}
	return o
}

// ExplainFTP answers whether an FTP command may go to a server by these rules, as a control channel does: denied is nil if it may. The steps
// are the rules on paths that were looked at. Where the server is, nobody knows.
func ExplainFTP(rules *policy.FTP, command string) (steps []policy.Step, denied *policy.Decision) {
	o := ftpOptions(rules)
	if decide := o.Paths; decide != nil {
		o.Paths = func(r ftp.PathRequest) ftp.PathDecision {
			e := rules.ExplainPath(policy.PathRequest{Path: r.Path, From: r.From, Enter: r.Enter})
			steps = append(steps, e.Steps...)
			return decide(r)
		}
	}
	if r, refused := o.Refuses(command); refused {
		denied = &policy.Decision{Rule: r.Rule, Reason: r.Reason}
	}
	return steps, denied
}

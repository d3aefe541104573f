package auth

// Settings say how somebody may prove who they are. The zero Settings let nobody in.
type Settings struct {
	// AuthenticationMethods are lists of methods, each of which suffices when all of it was proven in its
	// order: publickey, password, keyboard-interactive, keyboard-interactive:totp (the one-time code alone) and
	// keyboard-interactive:password (the password alone). If there is none, any one method suffices.
	AuthenticationMethods        [][]string
	PubkeyAuthentication         bool
	PasswordAuthentication       bool
	KbdInteractiveAuthentication bool
	PermitRootLogin              RootLogin

	// Algorithms that may prove a key, as the client names them, and that may sign certificates. If there is none,
	// those of [PublicKeyAlgorithms].
	PubkeyAcceptedAlgorithms, CASignatureAlgorithms []string
	RequiredRSASize                                 int // bits, of keys and authorities; if zero, 2048

	// Paths are absolute, and have the tokens %%, %h, %U and %u in them. What is empty doesn't serve.
	AuthorizedKeysFile              []string
	AuthorizedKeysCommand           string
	AuthorizedKeysCommandUser       string
	TrustedUserCAKeys               string
	AuthorizedPrincipalsFile        string
	AuthorizedPrincipalsCommand     string
	AuthorizedPrincipalsCommandUser string
	RevokedKeys                     string // if it can't be read, no key serves
	TouchRequired, VerifyRequired   bool   // PubkeyAuthOptions
	PasswordFile                    string // as SetPassword writes it

	// Line names the file:line that says the value of a keyword, or is empty for a default. If nil, no line is named.
	Line func(keyword string) string
}

// line is Line.
func (s *Settings) line(keyword string) string {
	if s.Line == nil {
		return ""
	}
	return s.Line(keyword)
}

// refusedBy is a refusal that goes back to the line of a keyword.
func (s *Settings) refusedBy(keyword, reason string) *refusal {
	return &refusal{rule: s.line(keyword), reason: reason}
}

// RootLogin is how root, and whoever else has the user id 0, may log in.
type RootLogin int

const (
	RootNo             RootLogin = iota
	RootForcedCommands           // by a key that has command=, or a certificate that has force-command
	RootKeys                     // by a key
	RootYes
)

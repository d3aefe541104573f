package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

// Critical options of certificates (OpenSSH's PROTOCOL.certkeys). Whoever finds another one must refuse.
const (
	forceCommand   = "force-command"
	sourceAddress  = "source-address"
	verifyRequired = "verify-required"
)

// certificateOptions checks all of a user certificate that has nothing to do with who trusts its authority, and returns
// its options. Everything is denied that no extension permits.
//
// The same is to be had from ssh.CertChecker but for what it leaves out: it lets a certificate without
// principals serve for everybody, and any algorithm sign it.
func (s *Settings) certificateOptions(cert *ssh.Certificate, claimed policy.Subject, now time.Time) (keyOptions, error) {
	none := keyOptions{}
	if cert.CertType != ssh.UserCert {
		return none, errors.New("it is no user certificate")
	}
	if len(cert.ValidPrincipals) == 0 {
		return none, errors.New("the certificate names no principals: it would be everybody's")
	}
	if err := s.acceptableAuthority(cert); err != nil {
		return none, err
	}
	checker := ssh.CertChecker{
		SupportedCriticalOptions: []string{forceCommand, sourceAddress, verifyRequired},
		Clock:                    func() time.Time { return now },
	}
	// Whose name it must be depends on who trusts the authority.
	if err := checker.CheckCert(cert.ValidPrincipals[0], cert); err != nil {
		return none, errors.New(clip(strings.TrimPrefix(err.Error(), "ssh: "))) // it may quote the certificate
	}
	o := keyOptions{rules: policy.KeyRules{NoPortForwarding: true, NoAgentForwarding: true, NoPTY: true}}
	for name, value := range cert.CriticalOptions {
		if err := o.setCritical(name, value, claimed); err != nil {
			return none, fmt.Errorf("certificate's %s: %s", name, clip(err.Error())) // likewise
		}
	}
	for name, value := range cert.Extensions {
		if err := o.setExtension(name, value); err != nil {
			return none, fmt.Errorf("certificate's %s: %w", name, err)
		}
	}
	return o, nil
}

// acceptableAuthority checks the key that has signed, and how.
func (s *Settings) acceptableAuthority(cert *ssh.Certificate) error {
	if _, nested := cert.SignatureKey.(*ssh.Certificate); nested || cert.Signature == nil {
		return errors.New("the certificate is signed by no key")
	}
	algorithms := s.CASignatureAlgorithms
	if len(algorithms) == 0 {
		algorithms = PublicKeyAlgorithms()
	}
	if !slices.Contains(algorithms, cert.Signature.Format) {
		return s.refusedBy("CASignatureAlgorithms", fmt.Sprintf("CASignatureAlgorithms has no %s, with which the certificate is signed", clip(cert.Signature.Format)))
	}
	if err := s.longEnough(cert.SignatureKey); err != nil {
		return fmt.Errorf("the certificate's authority: %w", err)
	}
	return nil
}

func (o *keyOptions) setCritical(name, value string, claimed policy.Subject) error {
	switch name {
	case forceCommand:
		if value == "" {
			return errors.New("there is no command to force")
		}
		o.rules.ForceCommand = value
	case sourceAddress:
		return checkSource(value, claimed)
	case verifyRequired:
		if value != "" {
			return errors.New("it has a value")
		}
		o.verify = true
	default:
		return errors.New("unknown critical option")
	}
	return nil
}

// setExtension sets what an extension permits. An unknown one is ignored, as PROTOCOL.certkeys wants it.
func (o *keyOptions) setExtension(name, value string) error {
	switch name {
	case "permit-port-forwarding":
		o.rules.NoPortForwarding = false
	case "permit-agent-forwarding":
		o.rules.NoAgentForwarding = false
	case "permit-pty":
		o.rules.NoPTY = false
	case noTouchRequired:
		o.noTouch = true
	default:
		return nil
	}
	if value != "" {
		return errors.New("it has a value")
	}
	return nil
}

// checkSource checks the critical option source-address: addresses and networks, with commas between.
func checkSource(list string, claimed policy.Subject) error {
	inside := false
	for word := range strings.SplitSeq(list, ",") {
		network, err := policy.ParseNetwork(word)
		if err != nil {
			return err
		}
		inside = inside || network.Contains(claimed.Addr.Unmap().WithZone(""))
	}
	if !inside {
		return fmt.Errorf("it doesn't permit %s", claimed.Addr)
	}
	return nil
}

// namedIn checks that one of the names is among the certificate's principals.
func namedIn(cert *ssh.Certificate, names []string) error {
	if slices.ContainsFunc(names, func(name string) bool { return name != "" && slices.Contains(cert.ValidPrincipals, name) }) {
		return nil
	}
	return fmt.Errorf("the certificate is for %s, and wanted is %s", show(cert.ValidPrincipals), show(names))
}

// show lists names that a client may have made up.
func show(names []string) string { return clip(fmt.Sprintf("%q", names[:min(len(names), 8)])) }

// byTrustedCA lets a certificate serve whose authority is in TrustedUserCAKeys.
func (l *lookup) byTrustedCA(of account) (keyOptions, error) {
	source, err := l.trustedCA()
	if err != nil {
		return keyOptions{}, err
	}
	if l.line == "" {
		l.line = source
	}
	s := l.settings
	if s.AuthorizedPrincipalsFile == "" && s.AuthorizedPrincipalsCommand == "" {
		if err := namedIn(l.certificate, []string{l.claimed.User}); err != nil {
			return keyOptions{}, fmt.Errorf("%s: %w", source, err)
		}
		l.line = source
		// Nothing but the certificate narrows it.
		return keyOptions{rules: policy.KeyRules{Source: source}, noTouch: l.own.noTouch}, nil
	}
	o, err := l.byPrincipals(of)
	if err != nil {
		return keyOptions{}, fmt.Errorf("%s: %w", source, err)
	}
	l.line = source
	o.rules.Source = joinSources(source, o.rules.Source)
	return o, nil
}

// trustedCA returns the line of TrustedUserCAKeys that holds the authority's key.
func (l *lookup) trustedCA() (string, error) {
	path := l.settings.TrustedUserCAKeys
	data, err := readTrusted(path, 0o022)
	if err != nil {
		return "", fmt.Errorf("read TrustedUserCAKeys: %w", err)
	}
	return holder(path, data, l.certificate.SignatureKey)
}

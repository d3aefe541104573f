package e2e

// administrations is the table. In the texts, {WEB} and {DB} are what can be reached, {PORT} and {ANOTHER} free ports, and the name of a key in
// braces is the key.
var administrations = []administration{
	{
		name: "staff",
		text: `
UsePAM no
X11Forwarding no
Banner {WORLD}/banner
DenyUsers mallory
AllowUsers alice bob carl dave@127.0.0.1 frank mallory
DenyGroups contractors
MaxAuthTries 2
Match User bob Address 127.0.0.7
	PubkeyAuthentication no
`,
		lines: []commandLine{
			{as: "alice", words: "-W {WEB}", want: "banner, in, web, 0"},
			{as: "mallory", words: "-W {WEB}", want: "banner, permission denied, 255", rule: "DenyUsers mallory"},
			{as: "erin", words: "-W {WEB}", want: "banner, permission denied, 255", rule: "AllowUsers alice bob carl dave@127.0.0.1 frank mallory"},
			{as: "carl", words: "-W {WEB}", want: "banner, permission denied, 255", rule: "DenyGroups contractors"},
			{as: "dave", words: "-W {WEB}", want: "banner, in, web, 0"},
			{as: "dave", words: "-b 127.0.0.7 -W {WEB}", want: "banner, permission denied, 255", rule: "AllowUsers alice bob carl dave@127.0.0.1 frank mallory"},
			{as: "bob", words: "-W {WEB}", want: "banner, in, web, 0"},
			{as: "bob", words: "-b 127.0.0.7 -W {WEB}", want: "banner, permission denied, 255", rule: "PubkeyAuthentication no"},
			{as: "frank", words: "-W {WEB}", want: "banner, in, web, 0", differs: noGroup, ours: "banner, permission denied, 255", rule: "DenyGroups contractors"},
			{as: "alice", with: []string{"one"}, words: "-W {WEB}", want: "banner, permission denied, 255"},
			{as: "alice", with: []string{"one", "alice"}, words: "-W {WEB}", want: "banner, in, web, 0"},
			{as: "alice", with: []string{"one", "two", "alice"}, words: "-W {WEB}", want: "banner, too many failures, 255", rule: "MaxAuthTries 2"},
			{as: "alice", words: "-- true", want: "banner, in, 0", differs: noPrograms, ours: "banner, in, no commands, 1"},
		},
	},
	{
		name: "forwarding",
		text: `
UsePAM no
AllowGroups tunnel ops
AllowTcpForwarding no
PermitTTY no
Match Group ops
	AllowTcpForwarding yes
	PermitTTY yes
	PermitOpen {WEB} {DB}
Match User bob
	AllowTcpForwarding local
	PermitOpen localhost:1 {WEB}
Match User carol Address 127.0.0.7
	AllowTcpForwarding remote
	PermitListen {PORT}
`,
		lines: []commandLine{
			{as: "alice", words: "-N -L {LOCAL}:{WEB}", want: "in, web"},
			{as: "alice", words: "-N -D {LOCAL}", want: "in, web, db"},
			{as: "alice", words: "-N -R 0:{WEB}", want: "in, at: 127.0.0.1 ::1"},
			{as: "alice", words: "-W 127.0.0.1:1", want: "in, prohibited, 255", rule: "PermitOpen {WEB} {DB}"},
			{as: "alice", words: "-tt -- true", want: "in, 0", differs: noPrograms, ours: "in, no commands, 1"},
			{as: "bob", words: "-N -L {LOCAL}:{WEB}", want: "in, web"},
			{as: "bob", words: "-N -L {LOCAL}:{DB}", want: "in, prohibited", rule: "PermitOpen localhost:1 {WEB}"},
			{as: "bob", words: "-N -D {LOCAL}", want: "in, web, prohibited", rule: "PermitOpen localhost:1 {WEB}"},
			{as: "bob", words: "-W {DB}", want: "in, prohibited, 255", rule: "PermitOpen localhost:1 {WEB}"},
			{as: "bob", words: "-W localhost:1", want: "in, connect failed, 255"},
			{as: "bob", words: "-N -R 0:{WEB}", want: "in, remote forwarding failed, 255", rule: "AllowTcpForwarding local"},
			{as: "bob", words: "-tt -- true", want: "in, no terminal, 255"},
			{as: "carol", words: "-W {WEB}", want: "in, prohibited, 255", rule: "AllowTcpForwarding no"},
			{as: "carol", words: "-N -R {PORT}:{WEB}", want: "in, remote forwarding failed, 255", rule: "AllowTcpForwarding no"},
			{as: "carol", words: "-b 127.0.0.7 -N -R {PORT}:{WEB}", want: "in, at: 127.0.0.1 ::1"},
			{as: "carol", words: "-b 127.0.0.7 -N -R {ANOTHER}:{WEB}", want: "in, remote forwarding failed, 255", rule: "PermitListen {PORT}"},
			{as: "carol", words: "-b 127.0.0.7 -W {WEB}", want: "in, prohibited, 255", rule: "AllowTcpForwarding remote"},
			{as: "dave", words: "-W {WEB}", want: "permission denied, 255", rule: "AllowGroups tunnel ops"},
		},
	},
	{
		name: "listening",
		text: `
UsePAM no
GatewayPorts clientspecified
PermitListen {PORT} 127.0.0.9:{ANOTHER}
MaxSessions 2
Match User bob
	GatewayPorts yes
	PermitListen *:{PORT}
Match User carol
	GatewayPorts no
	MaxSessions 0
Match User erin
	DisableForwarding yes
`,
		lines: []commandLine{
			{as: "alice", words: "-N -R {PORT}:{WEB}", want: "in, at: 127.0.0.1 ::1"},
			{as: "alice", words: "-N -R 127.0.0.9:{ANOTHER}:{WEB}", want: "in, at: 127.0.0.9"},
			{as: "alice", words: "-N -R 127.0.0.1:{ANOTHER}:{WEB}", want: "in, remote forwarding failed, 255", rule: "PermitListen {PORT} 127.0.0.9:{ANOTHER}"},
			{as: "alice", words: "-N -R *:{PORT}:{WEB}", want: "in, at: 127.0.0.1 127.0.0.9 ::1"},
			{as: "alice", words: "-N -R 0:{WEB}", want: "in, remote forwarding failed, 255", rule: "PermitListen {PORT} 127.0.0.9:{ANOTHER}"},
			{as: "alice", words: "{SESSIONS}", want: "2 sessions", rule: "MaxSessions 2"},
			{as: "bob", words: "-N -R {PORT}:{WEB}", want: "in, at: 127.0.0.1 127.0.0.9 ::1"},
			{as: "bob", words: "-N -R 127.0.0.9:{PORT}:{WEB}", want: "in, at: 127.0.0.1 127.0.0.9 ::1"},
			{as: "carol", words: "-N -R 127.0.0.9:{PORT}:{WEB}", want: "in, at: 127.0.0.1 ::1"},
			{as: "carol", words: "{SESSIONS}", want: "0 sessions", rule: "MaxSessions 0"},
			{as: "carol", words: "-W {WEB}", want: "in, web, 0"},
			{as: "erin", words: "-W {WEB}", want: "in, prohibited, 255", rule: "DisableForwarding yes"},
			{as: "erin", words: "-N -R {PORT}:{WEB}", want: "in, remote forwarding failed, 255", rule: "DisableForwarding yes"},
		},
	},
	{
		name: "two keys",
		text: `
UsePAM no
PubkeyAuthentication yes
AuthenticationMethods publickey,publickey
RevokedKeys {WORLD}/revoked
Match User bob,carol
	AuthenticationMethods publickey
`,
		files: map[string]string{
			"alice": "{one}\n{two}\n{lost}\n",
			"bob":   "# the lost one\n{lost}\n{bob}\n",
		},
		lines: []commandLine{
			{as: "alice", with: []string{"one", "two"}, words: "-W {WEB}", want: "half in, in, web, 0"},
			{as: "alice", with: []string{"one"}, words: "-W {WEB}", want: "half in, permission denied, 255"},
			{as: "alice", with: []string{"one", "three"}, words: "-W {WEB}", want: "half in, permission denied, 255"},
			{as: "alice", with: []string{"one", "lost"}, words: "-W {WEB}", want: "half in, permission denied, 255", rule: "RevokedKeys {WORLD}/revoked"},
			{as: "bob", words: "-W {WEB}", want: "in, web, 0"},
			{as: "bob", with: []string{"lost"}, words: "-W {WEB}", want: "permission denied, 255", rule: "RevokedKeys {WORLD}/revoked"},
			{as: "carol", words: "-W {WEB}", want: "in, web, 0"},
		},
	},
	{
		name: "certificates",
		text: `
UsePAM no
HostCertificate {WORLD}/host_key-cert.pub
TrustedUserCAKeys {WORLD}/ca.pub
RevokedKeys {WORLD}/krl
Match User bob,carol
	AuthorizedPrincipalsFile {FOLDER}/principals/%u
`,
		files: map[string]string{
			"alice":            "",
			"principals/bob":   "# who may be bob\nops\n",
			"principals/carol": "from=\"127.0.0.7\" ops\n",
		},
		lines: []commandLine{
			{as: "alice", with: []string{"cert-alice"}, words: "-o UserKnownHostsFile={WORLD}/known_hosts -o StrictHostKeyChecking=yes -W {WEB}", want: "in, web, 0"},
			{as: "alice", with: []string{"cert-ops"}, words: "-W {WEB}", want: "permission denied, 255", rule: "{WORLD}/ca.pub:1"},
			{as: "alice", with: []string{"cert-foreign"}, words: "-W {WEB}", want: "permission denied, 255"},
			{as: "alice", with: []string{"cert-expired"}, words: "-W {WEB}", want: "permission denied, 255"},
			{as: "alice", with: []string{"cert-lost"}, words: "-W {WEB}", want: "permission denied, 255", rule: "RevokedKeys {WORLD}/krl"},
			{as: "alice", with: []string{"cert-elsewhere"}, words: "-W {WEB}", want: "permission denied, 255"},
			{as: "alice", with: []string{"cert-elsewhere"}, words: "-b 127.0.0.7 -W {WEB}", want: "in, web, 0"},
			{as: "alice", with: []string{"cert-bare"}, words: "-W {WEB}", want: "in, prohibited, 255"},
			{as: "bob", with: []string{"cert-ops"}, words: "-W {WEB}", want: "in, web, 0"},
			{as: "bob", with: []string{"cert-alice"}, words: "-W {WEB}", want: "permission denied, 255"},
			{as: "carol", with: []string{"cert-ops"}, words: "-b 127.0.0.7 -W {WEB}", want: "in, web, 0"},
			{as: "carol", with: []string{"cert-ops"}, words: "-W {WEB}", want: "permission denied, 255", rule: "principals/carol:1"},
		},
	},
	{
		name: "options of keys",
		text: `
UsePAM no
PermitListen {PORT}
`,
		files: map[string]string{
			"alice": `from="127.0.0.7,192.0.2.0/24" {alice}` + "\n" + `expiry-time="20200101" {one}` + "\n" + `expiry-time="29990101" {two}` + "\n",
			"bob":   "restrict {bob}\n" + `restrict,port-forwarding,permitopen="{WEB}" {one}` + "\n",
			"carol": `permitlisten="{ANOTHER}" {carol}` + "\n" + `no-pty,permitlisten="localhost:{PORT}" {one}` + "\n",
		},
		lines: []commandLine{
			{as: "alice", words: "-W {WEB}", want: "permission denied, 255", rule: "alice:1"},
			{as: "alice", words: "-b 127.0.0.7 -W {WEB}", want: "in, web, 0"},
			{as: "alice", with: []string{"one"}, words: "-W {WEB}", want: "permission denied, 255", rule: "alice:2"},
			{as: "alice", with: []string{"two"}, words: "-W {WEB}", want: "in, web, 0"},
			{as: "bob", words: "-W {WEB}", want: "in, prohibited, 255", rule: "bob:1"},
			{as: "bob", words: "-N -R {PORT}:{WEB}", want: "in, remote forwarding failed, 255", rule: "bob:1"},
			{as: "bob", words: "-tt -- true", want: "in, no terminal, 255"},
			{as: "bob", with: []string{"one"}, words: "-N -L {LOCAL}:{WEB}", want: "in, web"},
			{as: "bob", with: []string{"one"}, words: "-N -L {LOCAL}:{DB}", want: "in, prohibited", rule: "bob:2"},
			{as: "carol", words: "-N -R {PORT}:{WEB}", want: "in, remote forwarding failed, 255", rule: "carol:1"},
			{as: "carol", words: "-N -R {ANOTHER}:{WEB}", want: "in, remote forwarding failed, 255", rule: "PermitListen {PORT}"},
			{as: "carol", with: []string{"one"}, words: "-N -R {PORT}:{WEB}", want: "in, at: 127.0.0.1 ::1"},
			{as: "carol", with: []string{"one"}, words: "-tt -- true", want: "in, no terminal, 255"},
		},
	},
}

//go:build unix

package login

// sshDirectory is where the system's ssh_config is.
func sshDirectory() string { return "/etc/ssh" }

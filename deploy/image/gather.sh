#!/bin/sh
# Gathers, in the folder $1, what the service needs of Debian: Python and its libraries, certificates, no shell, no apt.
# Every package's record goes with it, so that scanners know what is in the image (distroless has the same place).
set -eu
# llama.cpp needs libgomp1, other packages of C++ libstdc++6.
root=$1
packages="base-files ca-certificates libbz2-1.0 libc6 libexpat1 libffi8 libgcc-s1 libgomp1 liblzma5 libpython3.13-minimal
  libpython3.13-stdlib libsqlite3-0 libssl3t64 libstdc++6 libuuid1 libzstd1 media-types netbase openssl-provider-legacy
  python3-minimal python3.13-minimal tzdata zlib1g"
mkdir -p "$root/var/lib/dpkg/status.d"
for package in $packages; do
  dpkg-query --status "$package" > "$root/var/lib/dpkg/status.d/$package"
  # Debian's slim images have no manuals, which the package still lists.
  dpkg-query --listfiles "$package" | while read -r path; do
    if [ -e "$path" ] || [ -L "$path" ]; then echo "$path"; fi
  done
  # Made as the service was loaded, so no package lists it: without it every start would compile Python's own library.
  if [ "$package" = libpython3.13-stdlib ]; then find /usr/lib/python3.13 -name '*.pyc'; fi
done | sort -u | tar --create --no-recursion --files-from - | tar --extract --directory "$root"
# What nobody reads or starts in an image.
rm -rf "$root"/usr/share/doc "$root"/usr/share/man "$root"/usr/share/ca-certificates "$root"/usr/bin/py3* \
  "$root"/usr/lib/python3.13/ensurepip "$root"/usr/lib/python3.13/pydoc_data "$root"/usr/lib/python3.13/turtledemo
mkdir -p "$root/etc/ssl/certs" "$root/data" "$root/etc/techstone"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
echo "techstone:x:10001:10001::/data:/usr/sbin/nologin" > "$root/etc/passwd"
echo "techstone:x:10001:" > "$root/etc/group"
chown 10001:10001 "$root/data"
chmod 0700 "$root/data"
install -d -m 1777 "$root/tmp"

"""Where what we ship comes from: known vulnerabilities of the locked requirements, bills of material of the images."""

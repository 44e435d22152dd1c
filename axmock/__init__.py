"""The parts of a simulator of the vendor's runtime, main_api_axcl_aarch64."""

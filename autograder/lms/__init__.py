"""Ida y vuelta a Moodle y Canvas: recoger lo que se entregó en ellos y llevarles las notas."""

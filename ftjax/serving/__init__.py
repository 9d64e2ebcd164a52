"""Deployable bundles that prove themselves, and the server that answers from one.

>>> from ftjax import serving
>>> serving.load('nowhere')
Traceback (most recent call last):
ftjax.errors.UserError: nowhere is no bundle: it holds no bundle.json; scripts/export.py makes one
"""

from ftjax.serving.bundle.loaded_bundle import Bundle, load

__all__ = ['Bundle', 'load']

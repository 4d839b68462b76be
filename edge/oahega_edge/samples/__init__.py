"""Pictures of faces whose people agreed: asked for, sealed for the operator, withdrawn, expired."""
